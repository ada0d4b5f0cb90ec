import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Socket } from "../../static/js/socket.js";

/** A transport over a socket that a test opens, feeds and closes by hand, on a clock of its own. */
function opening() {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const wire = { readyState: 0, sent: [], send: (text) => wire.sent.push(JSON.parse(text)), close: () => (wire.dropped = true) };
  const told = { opened: 0, events: [], closed: [] };
  const socket = new Socket(
    "ws://here/",
    { opened: () => told.opened++, received: (event) => told.events.push(event), closed: (how) => told.closed.push(how) },
    { open: () => wire },
  );
  return {
    socket,
    wire,
    told,
    open() {
      wire.readyState = 1;
      wire.onopen();
    },
    hear: (event) => wire.onmessage({ data: JSON.stringify(event) }),
    close: (code, reason = "") => wire.onclose({ code, reason }),
    wait: (milliseconds) => mock.timers.tick(milliseconds),
    commands: (type) => wire.sent.filter((command) => command.type === type),
  };
}

test("it asks for an answer at once, and hands on what it hears", () => {
  const here = opening();
  here.open();
  assert.deepEqual(here.wire.sent, [{ type: "ping" }]);
  here.hear({ type: "pong" });
  assert.deepEqual([here.told.opened, here.told.events], [1, [{ type: "pong" }]]);
});

test("the 32nd frame is acknowledged at once, fewer within a quarter of a second", () => {
  const here = opening();
  here.open();
  for (let i = 0; i < 33; i++) here.hear({ type: "reply_delta" });
  assert.deepEqual(here.commands("ack"), [{ type: "ack", frames: 32 }]);
  here.wait(250);
  assert.deepEqual(here.commands("ack").at(-1), { type: "ack", frames: 33 });
});

test("a handshake that hangs is given up", () => {
  const here = opening();
  here.wait(3_900);
  assert.deepEqual(here.told.closed, []);
  here.wait(200);
  assert.deepEqual(here.told.closed, [{ code: 1006, reason: "", lived: null, late: true }]);
  assert.equal(here.wire.dropped, true);
});

test("a socket that opens and lets nothing through is given up, and has not lived", () => {
  const here = opening();
  here.open();
  here.wait(10_000);
  assert.deepEqual(here.told.closed, [{ code: 1006, reason: "", lived: null, late: true }]);
});

test("a dead network is noticed within thirty seconds", () => {
  const here = opening();
  here.open();
  here.hear({ type: "pong" });
  here.wait(15_000);
  assert.equal(here.commands("ping").length, 2);
  here.wait(10_000);
  assert.equal(here.told.closed[0].lived, 25_000);
  assert.equal(here.wire.dropped, true);
});

test("an answered ping keeps it", () => {
  const here = opening();
  here.open();
  for (let i = 0; i < 10; i++) {
    here.hear({ type: "pong" });
    here.wait(15_000);
  }
  assert.deepEqual(here.told.closed, []);
});

test("a tab that is shown again knows within five seconds whether it lives", () => {
  const here = opening();
  here.open();
  here.hear({ type: "pong" });
  here.socket.check();
  here.wait(5_000);
  assert.equal(here.told.closed.length, 1);
});

test("how it was closed is told once, and nothing after it was dropped", () => {
  const here = opening();
  here.open();
  here.hear({ type: "pong" });
  here.wait(300);
  here.close(4429, "5");
  assert.deepEqual(here.told.closed, [{ code: 4429, reason: "5", lived: 300, late: false }]);
  assert.equal(here.wire.onmessage, null);
  here.wait(100_000);
  assert.equal(here.told.closed.length, 1);
  const other = opening();
  other.open();
  other.socket.drop();
  other.wait(100_000);
  assert.deepEqual(other.told.closed, []);
});
