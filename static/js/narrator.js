// Tells screen readers of replies, as much as each person has chosen: that they end, their sentences as they come, or the finished text.

import { sentencesEnd, spokenText } from "./speech.js";

const REST = 1500; // milliseconds between two things that are said: what comes faster would be cut off

export class Narrator {
  #reply = null;
  #told = 0; // of its text
  #timer = null;

  /** `choice()` is `off`, `end`, `sentences` or anything else for the finished text; `words` names sentences of words.js. */
  constructor({ choice, speak, say }) {
    Object.assign(this, { choice, speak, say });
  }

  begin({ id }) {
    this.#reply = id;
    this.#told = 0;
    if (this.choice() !== "off") this.speak(this.say("streaming"));
  }

  /** A reply has grown; `latest()` gives it as it is then. One that had begun before this page is told from here on. */
  grow(latest) {
    if (this.choice() !== "sentences" || this.#timer !== null) return;
    const { id, text } = latest();
    if (this.#reply !== id) {
      this.#reply = id;
      this.#told = sentencesEnd(text, 0);
    }
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#tell(latest().text);
    }, REST);
  }

  end({ id, status, text }) {
    clearTimeout(this.#timer);
    this.#timer = null;
    const choice = this.choice();
    const isOurs = this.#reply === id;
    this.#reply = null;
    if (choice === "off") return;
    const ending = this.say(status === "done" ? "finished" : status);
    if (choice === "end" || status !== "done") return this.speak(ending);
    const rest = this.#words(choice === "sentences" && isOurs ? text.slice(this.#told) : text);
    this.speak(choice === "sentences" ? [rest, ending].filter(Boolean).join("\n") : rest || ending);
  }

  #tell(text) {
    const end = sentencesEnd(text, this.#told);
    const words = this.#words(text.slice(this.#told, end));
    this.#told = end;
    if (words) this.speak(words);
  }

  #words = (text) => spokenText(text, (count) => this.say("code_lines", { count }));
}
