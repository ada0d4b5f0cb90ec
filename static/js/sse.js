// Server-Sent Events: text as it comes, in whatever pieces, becomes what the events say. Pure.

export class EventParser {
  #rest = "";
  #data = [];

  /** What the events say whose end has come with this text. */
  receive(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/); // the \n of a \r at the very end may be on its way
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#take(line));
  }

  #take(line) {
    if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
    if (line || this.#data.length === 0) return [];
    const event = this.#data.join("\n");
    this.#data = [];
    return [event];
  }
}
