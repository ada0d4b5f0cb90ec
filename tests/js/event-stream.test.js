import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { EventStream } from "../../static/js/event-stream.js";

const settled = () => new Promise((resolve) => setImmediate(resolve)).then(() => new Promise((resolve) => setImmediate(resolve)));

/** A transport over answers that a test gives piece by piece, on a clock of its own. */
function reading() {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const asked = [];
  const told = { opened: 0, events: [], closed: [], commands: [] };
  const fetch = (address, { signal, headers }) =>
    new Promise((resolve, reject) => {
      const one = { address, headers, signal, answer: (response) => resolve(response), fail: reject };
      signal.addEventListener("abort", () => {
        one.aborted = true;
        reject(signal.reason);
        one.body?.error(signal.reason);
      });
      asked.push(one);
    });
  const stream = new EventStream(
    { address: (wholly) => (wholly ? "/events/" : `/events/?version=${told.events.length}`), command: (command) => told.commands.push(command) },
    { opened: () => told.opened++, received: (event) => told.events.push(event), closed: (how) => told.closed.push(how) },
    { fetch },
  );
  const here = {
    stream,
    asked,
    told,
    async open() {
      const one = asked.at(-1);
      const body = new ReadableStream({ start: (controller) => (one.body = controller) });
      one.answer(new Response(body, { headers: { "Content-Type": "text/event-stream" } }));
      await here.say(":\n\n");
    },
    async say(text) {
      asked.at(-1).body.enqueue(new TextEncoder().encode(text));
      await settled();
    },
    hear: (event) => here.say(`data: ${JSON.stringify(event)}\n\n`),
    async end() {
      asked.at(-1).body.close();
      await settled();
    },
    async refuse(status, body) {
      asked.at(-1).answer(new Response(body, { status, headers: { "Content-Type": "application/json" } }));
      await settled();
    },
    wait: (milliseconds) => mock.timers.tick(milliseconds),
  };
  return here;
}

test("it is open with the first bytes, and hands on what it hears", async () => {
  const here = reading();
  assert.equal(here.stream.isOpen, false);
  await here.open();
  assert.equal(here.stream.isOpen, true);
  await here.hear({ type: "reply_delta" });
  assert.deepEqual([here.told.opened, here.told.events], [1, [{ type: "reply_delta" }]]);
  assert.equal(here.asked[0].headers.Accept, "text/event-stream");
});

test("characters that are cut in two come whole", async () => {
  const here = reading();
  await here.open();
  const bytes = new TextEncoder().encode('data: {"text":"漢🙂"}\n\n');
  for (const byte of bytes) here.asked[0].body.enqueue(Uint8Array.of(byte));
  await settled();
  assert.deepEqual(here.told.events, [{ text: "漢🙂" }]);
});

test("commands go by POST, and those that only a socket needs nowhere", async () => {
  const here = reading();
  await here.open();
  for (const type of ["stop_reply", "ping", "ack", "send_message"]) here.stream.send({ type });
  assert.deepEqual(here.told.commands.map(({ type }) => type), ["stop_reply", "send_message"]);
});

test("what is missing is asked for by opening it anew, from where the tab stands by then", async () => {
  const here = reading();
  await here.open();
  await here.hear({ type: "reply_delta" });
  here.stream.send({ type: "sync", replies: { 42: { text: 1 } } });
  assert.equal(here.asked[0].aborted, true);
  assert.equal(here.asked[1].address, "/events/?version=1");
  assert.equal(here.stream.isOpen, true);
  await here.open();
  await here.hear({ type: "reply_delta" });
  assert.equal(here.told.events.length, 2);
  assert.deepEqual([here.told.opened, here.told.closed], [1, []]);
});

test("a snapshot that is wanted is asked for until it has come", async () => {
  const here = reading();
  await here.open();
  here.stream.send({ type: "sync" });
  here.stream.send({ type: "sync", version: 3 });
  assert.equal(here.asked.at(-1).address, "/events/");
  await here.open();
  await here.hear({ type: "conversation_snapshot" });
  here.stream.send({ type: "sync", version: 3 });
  assert.equal(here.asked.at(-1).address, "/events/?version=1");
});

test("bye says how it ended", async () => {
  const here = reading();
  await here.open();
  here.wait(700);
  await here.hear({ type: "bye", code: 4401, reason: "You are signed out." });
  await here.end();
  assert.deepEqual(here.told.closed, [{ code: 4401, reason: "You are signed out.", lived: 700, late: false }]);
});

test("an end without a word is a lost connection", async () => {
  const here = reading();
  await here.open();
  await here.end();
  assert.equal(here.told.closed[0].code, 1006);
});

for (const [status, body, code, reason] of [
  [401, { code: "forbidden" }, 4401, ""],
  [404, { code: "not_found" }, 4404, ""],
  [429, { code: "too_fast", retry_after: 7 }, 4429, "7"],
  [503, { code: "unavailable", retry_after: 1 }, 1013, "1"],
  [400, { code: "not_spoken" }, 4400, ""],
  [404, "<h1>Not here</h1>", 1006, ""],
  [502, "Bad Gateway", 1006, ""],
  [200, "<h1>Welcome to the hotel</h1>", 1006, ""],
]) {
  test(`status ${status} with ${JSON.stringify(body)} is as good as the code ${code}`, async () => {
    const here = reading();
    await here.refuse(status, typeof body === "string" ? body : JSON.stringify(body));
    assert.deepEqual(here.told.closed, [{ code, reason, lived: null, late: false }]);
  });
}

test("a network that is not there is a lost connection that never opened", async () => {
  const here = reading();
  here.asked[0].fail(new TypeError("Failed to fetch"));
  await settled();
  assert.deepEqual(here.told.closed, [{ code: 1006, reason: "", lived: null, late: false }]);
});

test("first bytes that do not come are waited for ten seconds, later ones twenty-five", async () => {
  const gathered = reading();
  gathered.wait(10_000);
  assert.equal(gathered.told.closed[0].lived, null);
  const here = reading();
  await here.open();
  for (let i = 0; i < 5; i++) {
    here.wait(15_000);
    await here.say(": still here\n\n");
  }
  assert.deepEqual(here.told.closed, []);
  here.wait(25_000);
  assert.equal(here.told.closed[0].lived, 100_000);
  assert.equal(here.asked[0].aborted, true);
});

test("a tab that is shown again trusts no stream that has been silent for too long", async () => {
  const here = reading();
  await here.open();
  here.wait(15_000);
  here.stream.check();
  assert.deepEqual(here.told.closed, []);
  here.wait(2_000);
  here.stream.check();
  assert.equal(here.told.closed.length, 1);
});

test("nothing is heard of a stream that was dropped", async () => {
  const here = reading();
  await here.open();
  here.stream.drop();
  await settled();
  here.wait(100_000);
  assert.deepEqual([here.asked[0].aborted, here.told.closed], [true, []]);
});
