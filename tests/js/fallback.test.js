import assert from "node:assert/strict";
import { test } from "node:test";

import { afterLook, afterSocket, afterStream, choiceFrom, freshChoice, streamOpened, textOf } from "../../static/js/fallback.js";

const refused = { lived: null, late: false, code: 1006 };
const hanging = { lived: null, late: true, code: 1006 };
const cut = { lived: 300, late: false, code: 1006 };
const after = (...sockets) => sockets.reduce(afterSocket, freshChoice);
const NOW = 1_000_000;

test("one socket that comes to nothing may be an accident, two are not", () => {
  for (const failure of [refused, cut]) {
    assert.equal(after(failure).kind, "socket");
    assert.equal(after(failure, failure).kind, "stream");
  }
});

test("a person waits for a hanging handshake once", () => {
  assert.equal(after(hanging).kind, "stream");
});

test("a socket that has worked, or that our server closed, is none that came to nothing", () => {
  const worked = { lived: 60_000, late: false, code: 1006 };
  assert.equal(after(refused, worked, refused).kind, "socket");
  for (const code of [1012, 1013, 4401, 4408, 4429]) assert.deepEqual(after(refused, { lived: 10, late: false, code }), freshChoice);
});

test("a server that is away is no blocked socket: both have their turn until one of them opens", () => {
  let choice = after(refused, refused);
  for (let i = 0; i < 5; i++) {
    choice = afterStream(choice, { lived: null });
    assert.equal(choice.kind, "socket");
    choice = afterSocket(choice, refused);
    assert.equal(choice.kind, "stream");
  }
});

test("an event stream that was open comes back as one", () => {
  const choice = streamOpened(after(refused, refused), NOW);
  assert.equal(afterStream(choice, { lived: 0 }).kind, "stream");
});

test("sockets are looked at again, more and more rarely, and taken as soon as one works", () => {
  let choice = streamOpened(after(refused, refused), NOW);
  const waits = [choice.lookAt - NOW];
  for (let i = 0; i < 6; i++) {
    choice = afterLook(choice, false, NOW);
    assert.equal(choice.kind, "stream");
    waits.push(choice.lookAt - NOW);
  }
  assert.deepEqual(waits.map((wait) => wait / 60_000), [1, 2, 4, 8, 15, 15, 15]);
  assert.deepEqual(afterLook(choice, true, NOW), freshChoice);
});

test("a stream that was cut off and comes back does not put off the look", () => {
  const choice = streamOpened(after(refused, refused), NOW);
  assert.equal(streamOpened(choice, NOW + 50_000).lookAt, choice.lookAt);
});

test("the next page begins where this one has found something that works", () => {
  assert.equal(textOf(freshChoice), "");
  assert.equal(textOf(after(refused, refused)), "", "not before the stream has opened");
  const choice = streamOpened(after(refused, refused), NOW);
  assert.deepEqual(choiceFrom(textOf(choice), NOW), choice);
});

test("what makes no sense is forgotten", () => {
  for (const text of [null, "", "x", "{}", '{"looks": -1, "lookAt": 1}', `{"looks": 0, "lookAt": ${NOW * 10}}`]) assert.deepEqual(choiceFrom(text, NOW), freshChoice);
});
