// A WebSocket, as a transport: opens once, acknowledges what it takes in, notices when nobody is there any more.
//
//     new Socket(address, { opened, received, closed })
//
// `closed` is called once, with `{code, reason, lived, late}`: see fallback.js. Opening alone proves nothing, so it asks for
// an answer at once.

const ACK_FRAMES = 32;
const ACK_MILLISECONDS = 250;
const HANDSHAKE_MILLISECONDS = 4_000; // some networks neither let a socket through nor say so
const QUIET_MILLISECONDS = 15_000; // then a ping
const PONG_MILLISECONDS = 10_000; // then the network is dead, whatever the browser believes

export class Socket {
  kind = "socket";
  #timers = {};
  #frames = 0; // taken in since it opened
  #acked = 0;
  #openedAt = null;
  #heard = false;

  constructor(address, handlers, { open = (url) => new WebSocket(url), patience = HANDSHAKE_MILLISECONDS } = {}) {
    this.handlers = handlers;
    const socket = open(address);
    this.socket = socket;
    socket.onopen = () => {
      this.#openedAt = Date.now();
      this.#ping(PONG_MILLISECONDS);
      handlers.opened();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#close({ code, reason });
    this.#timers.pong = setTimeout(() => this.#close({ code: 1006, reason: "", late: true }), patience);
  }

  get isOpen() {
    return this.socket?.readyState === 1;
  }

  send(command) {
    this.socket.send(JSON.stringify(command));
  }

  /** Whether it still lives is to be known soon: the tab is shown again, or the network is back. */
  check() {
    this.#ping(PONG_MILLISECONDS / 2);
  }

  /** Forgets it without waiting for its closing handshake, which a dead network never completes. */
  drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #receive(data) {
    this.#heard = true;
    this.#frames++;
    if (this.#frames - this.#acked >= ACK_FRAMES) this.#ack();
    else this.#timers.ack ??= setTimeout(() => this.#ack(), ACK_MILLISECONDS);
    this.#watch();
    this.handlers.received(JSON.parse(data));
  }

  #ack() {
    clearTimeout(this.#timers.ack);
    this.#timers.ack = undefined;
    if (!this.isOpen) return;
    this.send({ type: "ack", frames: this.#frames });
    this.#acked = this.#frames;
  }

  /** A quiet socket is asked whether it lives; it has ten seconds to say so. */
  #watch() {
    clearTimeout(this.#timers.quiet);
    clearTimeout(this.#timers.pong);
    this.#timers.quiet = setTimeout(() => this.#ping(PONG_MILLISECONDS), QUIET_MILLISECONDS);
  }

  #ping(patience) {
    if (this.isOpen) this.send({ type: "ping" });
    clearTimeout(this.#timers.pong);
    this.#timers.pong = setTimeout(() => this.#close({ code: 1006, reason: "", late: true }), patience);
  }

  #close({ code, reason, late = false }) {
    this.drop();
    const lived = this.#heard ? Date.now() - this.#openedAt : null;
    this.handlers.closed({ code, reason, lived, late });
  }
}
