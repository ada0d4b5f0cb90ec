// The connection of a page: a socket or, where none comes through, an event stream. It comes back when it is lost, and
// knows nothing of conversations:
//
//     const connection = new Connection({ addresses, onOpen, onEvent, onState })
//
// `onEvent` gets events, `onState` gets `{open, words, action, until}`: what the banner says. What the transports have to do
// alike is here; which of them is used is decided in fallback.js, when to come back in schedule.js.

import { PROTOCOL } from "./addresses.js";
import { EventStream } from "./event-stream.js";
import { TRIAL, afterLook, afterSocket, afterStream, choiceFrom, streamOpened, textOf } from "./fallback.js";
import { post } from "./post.js";
import { afterClose, delayOf } from "./schedule.js";
import { Socket } from "./socket.js";
import { tab } from "./store.js";

const POST_AGAIN_MILLISECONDS = 3_000; // the same client_id is the same message, however often it arrives
const REST_MILLISECONDS = 10_000; // a hidden tab that takes up one of the browser's few connections lets go of it
const LOOK_MILLISECONDS = 10_000; // patience with a socket that is only tried
const LOST = new Set([1000, 1005, 1006]); // codes that say less than a `bye` before them

const encoder = new TextEncoder();

const transports = {
  socket: (addresses, handlers) => new Socket(addresses.socket(), handlers),
  stream: (addresses, handlers, command) => new EventStream({ address: addresses.events, command }, handlers),
  trial: (addresses, handlers) => new Socket(addresses.trial, handlers, { patience: LOOK_MILLISECONDS }),
};

export class Connection {
  #transport = null;
  #trial = null;
  #choice;
  #attempt = 0;
  #timers = {};
  #bye = null;
  #mayHurry = false;
  #ref = 0;
  #answers = new Map(); // ref → functions waiting for the answer

  /** `wants(client_id)`: is that still to be sent? Frames of `frameBytes` and more go by POST. */
  constructor({ addresses, onOpen, onEvent, onState, wants = () => true, frameBytes = Infinity, make = transports, send = post }) {
    Object.assign(this, { addresses, onOpen, onEvent, onState, wants, frameBytes, make, post: send });
    this.#choice = choiceFrom(tab.get("transport"), Date.now());
  }

  start() {
    globalThis.addEventListener?.("online", () => this.hurry());
    globalThis.addEventListener?.("pagehide", () => this.#drop());
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && this.#open());
    globalThis.document?.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? this.hurry() : this.#mayRest()));
    this.#open();
  }

  get isOpen() {
    return !!this.#transport?.isOpen;
  }

  /** Sends a command and says whether it went out; what must not be lost is sent again by `onOpen`. */
  send(command) {
    if (!this.isOpen) return false;
    if (this.#transport.kind === "socket" && isLong(command, this.frameBytes)) this.#post(command);
    else this.#transport.send(command);
    return true;
  }

  /** Sends a command with a `ref`; the promise is its `command_done`, or an error with the refusal's words. */
  ask(command) {
    const ref = String(++this.#ref);
    return new Promise((resolve, reject) => {
      this.#answers.set(ref, { resolve, reject });
      if (!this.send({ ...command, ref })) this.#answer({ ref, type: "command_refused", code: "offline" });
    });
  }

  /** At once when the browser is online again or the tab is shown again. */
  hurry() {
    clearTimeout(this.#timers.rest);
    if (this.isOpen) this.#transport.check();
    else if (this.#mayHurry) this.#open();
  }

  #open() {
    this.#drop();
    const { kind } = this.#choice;
    this.#transport = this.make[kind](
      this.addresses,
      { opened: () => this.#opened(kind), received: (event) => this.#received(event), closed: (how) => this.#closed(kind, how) },
      (command) => this.#post(command),
    );
  }

  #opened(kind) {
    if (kind === "stream") {
      this.#choose(streamOpened(this.#choice, Date.now()));
      this.#lookLater();
      if (globalThis.document?.visibilityState === "hidden") this.#mayRest();
    }
    this.onState({ open: true });
    this.onOpen();
  }

  #received(event) {
    if (event.type === "bye") this.#bye = event;
    else this.#attempt = 0; // a connection that was accepted and closed at once does not count as a success
    if (event.ref !== undefined) this.#answer(event);
    if (event.type === "conversation_snapshot" && event.protocol > PROTOCOL) this.#end(4400, "");
    else this.onEvent(event);
  }

  #closed(kind, { code, reason, lived, late }) {
    if (lived !== null && lived >= TRIAL) this.#attempt = 0;
    this.#choose(kind === "socket" ? afterSocket(this.#choice, { lived, late, code }) : afterStream(this.#choice, { lived }));
    this.#end(LOST.has(code) ? (this.#bye?.code ?? code) : code, reason);
  }

  #end(code, reason) {
    const { again, wait, words, action } = afterClose(code, reason);
    const after = this.#bye?.after_ms ?? 0;
    this.#drop();
    for (const ref of [...this.#answers.keys()]) this.#answer({ ref, type: "command_refused", code: "offline" });
    if (!again) return this.onState({ open: false, words, action });
    const delay = Math.max(wait, after) + delayOf(this.#attempt++, Math.random());
    this.#mayHurry = wait === 0; // a delay that the server asked for is kept
    this.onState({ open: false, words, until: Date.now() + delay });
    this.#timers.open = setTimeout(() => this.#open(), delay);
  }

  #answer({ ref, type, code, detail }) {
    const waiting = this.#answers.get(ref);
    if (!waiting) return;
    this.#answers.delete(ref);
    if (type === "command_done") waiting.resolve();
    else waiting.reject(Object.assign(new Error(detail), { code }));
  }

  async #post(command) {
    const answer = await this.post(this.addresses.commands, command);
    if (answer) this.#received(answer);
    else if (command.client_id === undefined) this.#answer({ ref: command.ref, type: "command_refused", code: "offline" });
    else setTimeout(() => this.isOpen && this.wants(command.client_id) && this.#post(command), POST_AGAIN_MILLISECONDS);
  }

  // An event stream is used for want of a socket

  #choose(choice) {
    this.#choice = choice;
    tab.set("transport", textOf(choice));
  }

  #lookLater() {
    clearTimeout(this.#timers.look);
    this.#timers.look = setTimeout(() => this.#look(), Math.max(this.#choice.lookAt - Date.now(), TRIAL));
  }

  /** Tries a socket beside the event stream, which goes on until one has proved to work. */
  #look() {
    let working = null;
    const looked = (works) => {
      clearTimeout(working);
      this.#trial?.drop();
      this.#trial = null;
      this.#choose(afterLook(this.#choice, works, Date.now()));
      if (works) this.#open();
      else this.#lookLater();
    };
    this.#trial = this.make.trial(this.addresses, {
      opened() {},
      received: () => (working ??= setTimeout(() => looked(true), TRIAL)),
      closed: () => looked(false),
    });
  }

  /** Over HTTP/1.1 a browser opens six connections to a server and no more, in all its tabs. */
  #mayRest() {
    if (this.#transport?.kind !== "stream" || isMultiplexed()) return;
    clearTimeout(this.#timers.rest);
    this.#timers.rest = setTimeout(() => {
      this.#drop();
      this.#mayHurry = true;
    }, REST_MILLISECONDS);
  }

  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    this.#mayHurry = false;
    this.#bye = null;
    this.#transport?.drop();
    this.#trial?.drop();
    this.#transport = this.#trial = null;
  }
}

/** As bytes; most commands need no counting. */
function isLong(command, limit) {
  const frame = JSON.stringify(command);
  return frame.length * 3 >= limit && encoder.encode(frame).length >= limit;
}

function isMultiplexed() {
  const [page] = globalThis.performance?.getEntriesByType?.("navigation") ?? [];
  return ["h2", "h3"].includes(page?.nextHopProtocol);
}
