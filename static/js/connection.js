// One WebSocket that comes back. It knows the transport and nothing of conversations:
//
//     const connection = new Connection({ url, onOpen, onEvent, onState })
//
// `url()` is asked anew for each socket (it carries ?version=), `onEvent` gets parsed frames, `onState` gets
// `{open, words, action, until}`: what the banner says.

import { afterClose, delayOf } from "./schedule.js";

const ACK_FRAMES = 32;
const ACK_MILLISECONDS = 250;
const QUIET_MILLISECONDS = 15_000; // then a ping
const PONG_MILLISECONDS = 10_000; // then the network is dead, whatever the browser believes

export class Connection {
  #socket = null;
  #attempt = 0;
  #timers = {};
  #frames = 0; // taken in since the socket opened
  #acked = 0;
  #after = null; // what `bye` said: milliseconds to stay away
  #mayHurry = false;
  #ref = 0;
  #answers = new Map(); // ref → function waiting for the answer

  constructor({ url, onOpen, onEvent, onState, openSocket = (address) => new WebSocket(address) }) {
    Object.assign(this, { url, onOpen, onEvent, onState, openSocket });
  }

  start() {
    globalThis.addEventListener?.("online", () => this.hurry());
    globalThis.addEventListener?.("pagehide", () => this.#drop());
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && this.#open());
    globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.hurry());
    this.#open();
  }

  get isOpen() {
    return this.#socket?.readyState === 1;
  }

  /** Sends a command and says whether it went out; what must not be lost is sent again by `onOpen`. */
  send(command) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(command));
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

  #open() {
    clearTimeout(this.#timers.open);
    this.#drop();
    const socket = this.openSocket(this.url());
    this.#socket = socket;
    this.#frames = this.#acked = 0;
    this.#after = null;
    socket.onopen = () => {
      this.onState({ open: true });
      this.onOpen();
      this.#watch();
    };
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#timers.pong = setTimeout(() => this.#dead(), PONG_MILLISECONDS);
  }

  #receive(event) {
    this.#attempt = 0; // a socket that was accepted and closed at once does not count as a success
    this.#frames++;
    if (this.#frames - this.#acked >= ACK_FRAMES) this.#ack();
    else this.#timers.ack ??= setTimeout(() => this.#ack(), ACK_MILLISECONDS);
    this.#watch();
    if (event.type === "bye") this.#after = event.after_ms ?? null;
    if (event.ref !== undefined) this.#answer(event);
    this.onEvent(event);
  }

  #ack() {
    clearTimeout(this.#timers.ack);
    this.#timers.ack = undefined;
    if (this.send({ type: "ack", frames: this.#frames })) this.#acked = this.#frames;
  }

  /** A quiet socket is asked whether it lives; it has ten seconds to say so. */
  #watch() {
    clearTimeout(this.#timers.quiet);
    clearTimeout(this.#timers.pong);
    this.#timers.quiet = setTimeout(() => {
      this.send({ type: "ping" });
      this.#timers.pong = setTimeout(() => this.#dead(), PONG_MILLISECONDS);
    }, QUIET_MILLISECONDS);
  }

  #answer({ ref, type, code, detail }) {
    const waiting = this.#answers.get(ref);
    if (!waiting) return;
    this.#answers.delete(ref);
    if (type === "command_done") waiting.resolve();
    else waiting.reject(Object.assign(new Error(detail), { code }));
  }

  #dead() {
    this.#closed(1006, "");
  }

  #closed(code, reason) {
    const { again, wait, words, action } = afterClose(code, reason);
    this.#drop();
    for (const ref of [...this.#answers.keys()]) this.#answer({ ref, type: "command_refused", code: "offline" });
    if (!again) {
      this.onState({ open: false, words, action });
      return;
    }
    const delay = Math.max(wait, this.#after ?? 0) + delayOf(this.#attempt++, Math.random());
    this.#mayHurry = wait === 0; // a delay that the server asked for is kept
    this.onState({ open: false, words, until: Date.now() + delay });
    this.#timers.open = setTimeout(() => this.#open(), delay);
  }

  /** At once when the browser is online again or the tab is shown again. */
  hurry() {
    if (this.isOpen) {
      this.send({ type: "ping" });
      clearTimeout(this.#timers.pong);
      this.#timers.pong = setTimeout(() => this.#dead(), PONG_MILLISECONDS / 2);
    } else if (this.#mayHurry) {
      this.#open();
    }
  }

  /** Forgets the socket without waiting for its closing handshake, which a dead network never completes. */
  #drop() {
    for (const name of ["open", "ack", "quiet", "pong"]) clearTimeout(this.#timers[name]);
    this.#timers = {};
    this.#mayHurry = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
