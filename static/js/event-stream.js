// An event stream, as a transport: what a socket does, over plain HTTP. It reads by `fetch` and not by `EventSource`,
// which tells nobody why it was refused, nor that nothing comes any more.
//
//     new EventStream({ address, command }, { opened, received, closed })
//
// `address(wholly)` is where to read from: on from what is held or, wholly, from a snapshot on.
// `command(command)` sends one by POST.

import { closeOf } from "./schedule.js";
import { EventParser } from "./sse.js";

const OPEN_MILLISECONDS = 10_000; // the first bytes come at once, unless something on the way gathers them
const SILENT_MILLISECONDS = 25_000; // a quiet stream says every 15 s that it is there
const STALE_MILLISECONDS = 16_000;

export class EventStream {
  kind = "stream";
  isOpen = false;
  #openedAt = null;
  #heardAt = 0;
  #silent = null;
  #reading = null; // the controller that ends it
  #wholly = false; // a snapshot is wanted

  constructor({ address, command }, handlers, { fetch = globalThis.fetch.bind(globalThis) } = {}) {
    Object.assign(this, { address, command, handlers, fetch });
    this.#read();
  }

  /** What is missing is told by opening it anew, from what is held by then. */
  send(command) {
    if (command.type === "sync") {
      this.#wholly ||= command.version === undefined && !command.replies;
      this.#read();
    } else if (command.type !== "ack" && command.type !== "ping") {
      this.command(command);
    }
  }

  check() {
    if (Date.now() - this.#heardAt > STALE_MILLISECONDS) this.#close({ code: 1006, reason: "" });
  }

  drop() {
    clearTimeout(this.#silent);
    this.isOpen = false;
    this.#reading?.abort();
    this.#reading = null;
  }

  async #read() {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const isCurrent = () => this.#reading === reading;
    this.#hear(OPEN_MILLISECONDS);
    let ended = { code: 1006, reason: "" };
    try {
      const answer = await this.fetch(this.address(this.#wholly), {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        signal: reading.signal,
      });
      const isStream = answer.ok && answer.headers.get("Content-Type")?.startsWith("text/event-stream");
      if (isStream) ended = await this.#take(answer.body, isCurrent);
      else ended = closeOf(answer.status, await answer.json().catch(() => ({})));
    } catch {
      // Cut off, or dropped by us.
    }
    if (isCurrent()) this.#close(ended);
  }

  /** Takes in what comes; how it ended. */
  async #take(body, isCurrent) {
    const parser = new EventParser();
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let ended = { code: 1006, reason: "" };
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      if (!isCurrent()) break;
      this.#hear(SILENT_MILLISECONDS);
      if (!this.isOpen) this.#open();
      for (const text of parser.receive(value)) {
        const event = JSON.parse(text);
        if (event.type === "bye") ended = { code: event.code ?? 1006, reason: event.reason };
        if (event.type === "conversation_snapshot") this.#wholly = false;
        if (isCurrent()) this.handlers.received(event);
      }
    }
    return ended;
  }

  #open() {
    this.isOpen = true;
    this.#openedAt ??= Date.now();
    this.handlers.opened();
  }

  #hear(patience) {
    this.#heardAt = Date.now();
    clearTimeout(this.#silent);
    this.#silent = setTimeout(() => this.#close({ code: 1006, reason: "" }), patience);
  }

  #close({ code, reason }) {
    this.drop();
    const lived = this.#openedAt === null ? null : Date.now() - this.#openedAt;
    this.handlers.closed({ code, reason, lived, late: false });
  }
}
