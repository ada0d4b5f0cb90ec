import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Connection } from "../../static/js/connection.js";

/** A connection over transports that a test opens, feeds and closes by hand, on a clock of its own. */
function connected(options = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const kept = new Map();
  globalThis.sessionStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
  if (options.kept) kept.set("parley:transport", options.kept);
  const made = [];
  const posted = [];
  const told = { events: [], states: [], opened: 0 };
  const make = (kind) => (addresses, handlers, command) => {
    const transport = { kind, handlers, command, isOpen: false, sent: [], send: (sent) => transport.sent.push(sent), check: () => (transport.checked = true), drop: () => (transport.isOpen = !(transport.dropped = true)) };
    made.push(transport);
    return transport;
  };
  const connection = new Connection({
    addresses: { commands: "/commands/" },
    onOpen: () => told.opened++,
    onEvent: (event) => told.events.push(event),
    onState: (state) => told.states.push(state),
    make: { socket: make("socket"), stream: make("stream"), trial: make("trial") },
    send: (address, command) => new Promise((resolve) => posted.push({ address, command, answer: resolve })),
    ...options,
  });
  connection.start();
  const here = {
    connection,
    made,
    posted,
    told,
    kept,
    get now() {
      return made.findLast(({ kind }) => kind !== "trial");
    },
    get trial() {
      return made.findLast(({ kind }) => kind === "trial");
    },
    open(transport = here.now) {
      transport.isOpen = true;
      transport.handlers.opened();
    },
    hear: (event) => here.now.handlers.received(event),
    /** As a transport tells it that had worked for a while. */
    close: (code, reason = "", lived = 60_000) => here.now.handlers.closed({ code, reason, lived, late: false }),
    /** As one that never opened. */
    fail: (late = false) => here.now.handlers.closed({ code: 1006, reason: "", lived: null, late }),
    wait: (milliseconds) => mock.timers.tick(milliseconds),
    kinds: () => made.map(({ kind }) => kind),
  };
  return here;
}

/** Two sockets that came to nothing, and an event stream that opened. */
function fallenBack(options) {
  const here = connected(options);
  here.fail();
  here.wait(1_000);
  here.fail();
  here.wait(1_000);
  here.open();
  return here;
}

// Lost, and back

test("a lost connection is opened again", () => {
  const here = connected();
  here.open();
  here.hear({ type: "pong" });
  here.close(1006);
  assert.equal(here.told.states.at(-1).words, "closed_lost");
  here.wait(300);
  assert.deepEqual(here.kinds(), ["socket", "socket"]);
});

test("a signed-out tab does not come back", () => {
  const here = connected();
  here.open();
  here.close(4401);
  here.wait(100_000);
  assert.equal(here.made.length, 1);
  assert.equal(here.told.states.at(-1).action, "sign_in");
});

test("bye says how long to stay away", () => {
  const here = connected();
  here.open();
  here.hear({ type: "bye", reason: "restart", after_ms: 5000 });
  here.close(1012);
  here.wait(4_900);
  assert.equal(here.made.length, 1);
  here.wait(500);
  assert.equal(here.made.length, 2);
});

test("bye says why, where the code of the connection cannot", () => {
  for (const code of [1000, 1006]) {
    const here = connected();
    here.open();
    here.hear({ type: "bye", reason: "restart", after_ms: 500, code: 1012 });
    here.close(code);
    assert.equal(here.told.states.at(-1).words, "closed_restart");
  }
});

test("connections that are accepted and closed at once do not reset the delay", () => {
  const here = connected();
  for (let i = 0; i < 6; i++) {
    here.open();
    here.hear({ type: "bye", reason: "" });
    here.close(1012, "", 0);
    here.wait(12_001);
  }
  here.close(1012, "", 0);
  assert.ok(here.told.states.at(-1).until - Date.now() >= 7_500);
});

test("hurry opens at once, but not while the server wants to be left alone", () => {
  const here = connected();
  here.fail();
  here.connection.hurry();
  assert.equal(here.made.length, 2);
  here.close(4429, "60 s");
  here.connection.hurry();
  assert.equal(here.made.length, 2);
});

test("hurry looks whether an open one still lives", () => {
  const here = connected();
  here.open();
  here.connection.hurry();
  assert.equal(here.now.checked, true);
});

test("an asked command ends with its answer, its refusal, or the end of the connection", async () => {
  const here = connected();
  here.open();
  const done = here.connection.ask({ type: "stop_reply", reply: "1" });
  const refused = here.connection.ask({ type: "stop_reply", reply: "2" });
  const lost = here.connection.ask({ type: "stop_reply", reply: "3" });
  const [first, second] = here.now.sent.map(({ ref }) => ref);
  here.hear({ type: "command_done", ref: first });
  here.hear({ type: "command_refused", ref: second, code: "not_found", detail: "There is no such reply." });
  here.close(1006);
  await done;
  await assert.rejects(refused, { code: "not_found", message: "There is no such reply." });
  await assert.rejects(lost, { code: "offline" });
});

// A page that is older than the server

test("a protocol that this page does not speak ends it, and nothing of it is taken in", () => {
  const here = connected();
  here.open();
  here.hear({ type: "conversation_snapshot", protocol: 2 });
  here.wait(100_000);
  assert.deepEqual(here.told.states.at(-1), { open: false, words: "closed_protocol", action: "reload" });
  assert.deepEqual(here.told.events, []);
  assert.equal(here.made.length, 1);
});

test("a server that does not speak ours says so by 4400", () => {
  const here = connected();
  here.open();
  here.close(4400);
  here.wait(100_000);
  assert.equal(here.told.states.at(-1).action, "reload");
  assert.equal(here.made.length, 1);
});

// Commands by POST

test("a text that is too long for a frame goes by POST, and its answer comes as any", async () => {
  const here = connected({ frameBytes: 100 });
  here.open();
  const short = { type: "send_message", client_id: "a", text: "x" };
  const long = { type: "send_message", client_id: "b", text: "漢".repeat(40) };
  here.connection.send(short);
  here.connection.send(long);
  assert.deepEqual(here.now.sent, [short]);
  assert.deepEqual(here.posted[0].command, long);
  await here.posted[0].answer({ type: "command_done", client_id: "b" });
  await Promise.resolve();
  assert.deepEqual(here.told.events, [{ type: "command_done", client_id: "b" }]);
});

test("a message without an answer is sent again as long as it is wanted", async () => {
  let isWanted = true;
  const here = fallenBack({ wants: () => isWanted });
  here.now.command({ type: "send_message", client_id: "a", text: "x" });
  for (let tries = 1; tries < 4; tries++) {
    assert.equal(here.posted.length, tries);
    await here.posted.at(-1).answer(null);
    await Promise.resolve();
    here.wait(3_000);
  }
  isWanted = false;
  await here.posted.at(-1).answer(null);
  await Promise.resolve();
  here.wait(3_000);
  assert.equal(here.posted.length, 4);
});

test("an asked command without an answer has failed", async () => {
  const here = fallenBack();
  const asked = here.connection.ask({ type: "stop_reply", reply: "1" });
  here.now.command(here.now.sent[0]);
  here.posted[0].answer(null);
  await assert.rejects(asked, { code: "offline" });
});

// Where no socket comes through

test("two sockets that come to nothing are followed by an event stream", () => {
  const here = fallenBack();
  assert.deepEqual(here.kinds(), ["socket", "socket", "stream"]);
  assert.deepEqual(here.told.states.at(-1), { open: true });
  assert.equal(here.told.opened, 1);
});

test("a server that is away is looked for by both, and the delays grow", () => {
  const here = connected();
  for (let i = 0; i < 7; i++) {
    here.fail();
    here.wait(23_000);
  }
  assert.deepEqual(here.kinds(), ["socket", "socket", "stream", "socket", "stream", "socket", "stream", "socket"]);
  here.fail();
  assert.ok(here.told.states.at(-1).until - Date.now() >= 7_500);
});

test("an event stream that is lost comes back as one", () => {
  const here = fallenBack();
  here.close(1006);
  here.wait(300);
  assert.deepEqual(here.kinds().slice(2), ["stream", "stream"]);
});

test("a socket is tried beside it after a minute, and taken when it has lived for a while", () => {
  const here = fallenBack();
  here.wait(59_000);
  assert.equal(here.trial, undefined);
  here.wait(2_000);
  const stream = here.now;
  here.open(here.trial);
  here.trial.handlers.received({ type: "pong" });
  here.wait(4_900);
  assert.equal(stream.dropped, undefined);
  here.wait(200);
  assert.equal(here.trial.dropped, true);
  assert.equal(stream.dropped, true);
  assert.equal(here.now.kind, "socket");
  assert.equal(here.kept.size, 0);
});

test("a socket that fails beside it is not noticed, and tried half as often", () => {
  const here = fallenBack();
  const states = here.told.states.length;
  here.wait(61_000);
  here.open(here.trial);
  here.trial.handlers.received({ type: "pong" });
  here.wait(1_000);
  here.trial.handlers.closed({ code: 1006, reason: "", lived: 1_000, late: false });
  here.wait(110_000);
  assert.equal(here.kinds().filter((kind) => kind === "trial").length, 1);
  here.wait(11_000);
  assert.equal(here.kinds().filter((kind) => kind === "trial").length, 2);
  assert.equal(here.now.dropped, undefined);
  assert.equal(here.told.states.length, states);
});

test("the next page of the tab begins with the event stream", () => {
  const before = fallenBack();
  const here = connected({ kept: before.kept.get("parley:transport") });
  assert.deepEqual(here.kinds(), ["stream"]);
});

test("a hidden tab lets go of its event stream, and is back when it is shown", () => {
  const listeners = {};
  globalThis.document = { visibilityState: "visible", addEventListener: (type, listener) => (listeners[type] = listener) };
  const show = (state) => {
    document.visibilityState = state;
    listeners.visibilitychange();
  };
  try {
    const here = fallenBack();
    show("hidden");
    here.wait(9_000);
    assert.equal(here.now.dropped, undefined);
    here.wait(2_000);
    assert.equal(here.now.dropped, true);
    here.wait(100_000);
    assert.equal(here.made.length, 3);
    show("visible");
    assert.equal(here.now.kind, "stream");
    assert.equal(here.made.length, 4);
  } finally {
    delete globalThis.document;
  }
});

test("a hidden tab keeps its socket", () => {
  const listeners = {};
  globalThis.document = { visibilityState: "visible", addEventListener: (type, listener) => (listeners[type] = listener) };
  try {
    const here = connected();
    here.open();
    document.visibilityState = "hidden";
    listeners.visibilitychange();
    here.wait(1_000_000);
    assert.equal(here.now.dropped, undefined);
  } finally {
    delete globalThis.document;
  }
});
