import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Connection } from "../../static/js/connection.js";

/** A connection over sockets that a test opens, feeds and closes by hand, on a clock of its own. */
function connected() {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const sockets = [];
  const told = { events: [], states: [], opened: 0 };
  const connection = new Connection({
    url: () => `ws://here/?version=${told.events.length}`,
    onOpen: () => told.opened++,
    onEvent: (event) => told.events.push(event),
    onState: (state) => told.states.push(state),
    openSocket(address) {
      const socket = { address, readyState: 0, sent: [], send: (text) => socket.sent.push(JSON.parse(text)), close: () => (socket.closed = true) };
      sockets.push(socket);
      return socket;
    },
  });
  connection.start();
  const here = {
    connection,
    sockets,
    told,
    get socket() {
      return sockets.at(-1);
    },
    open() {
      here.socket.readyState = 1;
      here.socket.onopen();
    },
    hear: (event) => here.socket.onmessage({ data: JSON.stringify(event) }),
    close: (code, reason = "") => here.socket.onclose({ code, reason }),
    wait: (milliseconds) => mock.timers.tick(milliseconds),
  };
  return here;
}

test("a lost socket is opened again, with the version held by then", () => {
  const here = connected();
  here.open();
  here.hear({ type: "pong" });
  here.close(1006);
  assert.equal(here.told.states.at(-1).words, "closed_lost");
  here.wait(300);
  assert.equal(here.sockets.length, 2);
  assert.equal(here.socket.address, "ws://here/?version=1");
});

test("a signed-out tab does not come back", () => {
  const here = connected();
  here.open();
  here.close(4401);
  here.wait(100_000);
  assert.equal(here.sockets.length, 1);
  assert.equal(here.told.states.at(-1).action, "sign_in");
});

test("the 32nd frame is acknowledged at once, fewer within a quarter of a second", () => {
  const here = connected();
  here.open();
  for (let i = 0; i < 33; i++) here.hear({ type: "reply_delta" });
  assert.deepEqual(here.socket.sent, [{ type: "ack", frames: 32 }]);
  here.wait(250);
  assert.deepEqual(here.socket.sent.at(-1), { type: "ack", frames: 33 });
});

test("frames are counted anew on each socket", () => {
  const here = connected();
  here.open();
  here.hear({ type: "reply_delta" });
  here.close(1012);
  here.wait(300);
  here.open();
  here.hear({ type: "reply_delta" });
  here.wait(250);
  assert.deepEqual(here.socket.sent, [{ type: "ack", frames: 1 }]);
});

test("a dead network is noticed within thirty seconds", () => {
  const here = connected();
  here.open();
  here.hear({ type: "pong" });
  here.wait(15_000);
  assert.deepEqual(here.socket.sent.at(-1), { type: "ping" });
  here.wait(10_000);
  assert.equal(here.told.states.at(-1).open, false);
  assert.equal(here.sockets[0].closed, true);
});

test("an answered ping keeps the socket", () => {
  const here = connected();
  here.open();
  for (let i = 0; i < 10; i++) {
    here.wait(15_000);
    here.hear({ type: "pong" });
  }
  assert.equal(here.sockets.length, 1);
});

test("bye says how long to stay away", () => {
  const here = connected();
  here.open();
  here.hear({ type: "bye", reason: "restart", after_ms: 5000 });
  here.close(1012);
  here.wait(4_900);
  assert.equal(here.sockets.length, 1);
  here.wait(500);
  assert.equal(here.sockets.length, 2);
});

test("sockets that are accepted and closed at once do not reset the delay", () => {
  const here = connected();
  for (let i = 0; i < 6; i++) {
    here.open();
    here.close(1011);
    here.wait(12_001);
  }
  here.close(1006);
  assert.ok(here.told.states.at(-1).until - Date.now() >= 7_500);
});

test("hurry opens at once, but not while the server wants to be left alone", () => {
  const here = connected();
  here.close(1006);
  here.connection.hurry();
  assert.equal(here.sockets.length, 2);
  here.close(4429, "60 s");
  here.connection.hurry();
  assert.equal(here.sockets.length, 2);
});

test("an asked command ends with its answer, its refusal, or the end of the connection", async () => {
  const here = connected();
  here.open();
  const done = here.connection.ask({ type: "stop_reply", reply: "1" });
  const refused = here.connection.ask({ type: "stop_reply", reply: "2" });
  const lost = here.connection.ask({ type: "stop_reply", reply: "3" });
  const [first, second] = here.socket.sent.map(({ ref }) => ref);
  here.hear({ type: "command_done", ref: first });
  here.hear({ type: "command_refused", ref: second, code: "not_found", detail: "There is no such reply." });
  here.close(1006);
  await done;
  await assert.rejects(refused, { code: "not_found", message: "There is no such reply." });
  await assert.rejects(lost, { code: "offline" });
});
