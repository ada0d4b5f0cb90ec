import assert from "node:assert/strict";
import { test } from "node:test";

import { factsOf, spanOf } from "../../static/js/facts.js";

const reply = { model: "small", created_at: "2026-05-04T03:02:01.000Z" };
const usage = { prompt_tokens: 15, completion_tokens: 190, cost: null, estimated: false, attempts: 1, first_token_ms: 420, duration_ms: 4220 };

test("all that is known is told, and nothing else", () => {
  assert.deepEqual(factsOf({ ...reply, usage }), [
    ["time", "time", reply.created_at],
    ["model", "text", "small"],
    ["prompt", "number", 15],
    ["completion", "number", 190],
    ["first_token", "span", 420],
    ["speed", "speed", 50],
    ["duration", "span", 4220],
  ]);
});

test("a reply of which nothing is counted has its time", () => {
  assert.deepEqual(factsOf({ ...reply, model: "", usage: null }), [["time", "time", reply.created_at]]);
  assert.deepEqual(factsOf({ created_at: "", model: "", usage: undefined }), []);
});

test("a reply from before times were kept has its tokens", () => {
  const old = { prompt_tokens: 1, completion_tokens: 2, cost: null, estimated: true };
  assert.deepEqual(factsOf({ ...reply, usage: old }).slice(2), [["prompt", "about", 1], ["completion", "about", 2]]);
});

test("thinking, cost and further tries are told where there were any", () => {
  const names = factsOf({ ...reply, usage: { ...usage, cost: 0.002, thought_ms: 12_000, attempts: 3 } }).map(([name]) => name);
  assert.deepEqual(names, ["time", "model", "prompt", "completion", "cost", "first_token", "thought", "speed", "duration", "attempts"]);
});

test("what came at once has no speed", () => {
  assert.ok(!factsOf({ ...reply, usage: { ...usage, duration_ms: 450 } }).some(([name]) => name === "speed"));
});

test("spans are said as people say them", () => {
  const cases = [[40, 0, 0], [420, 0, 0.4], [9_900, 0, 9.9], [9_960, 0, 10], [12_400, 0, 12], [59_600, 1, 0], [125_000, 2, 5]];
  for (const [milliseconds, minutes, seconds] of cases) assert.deepEqual(spanOf(milliseconds), { minutes, seconds });
});

test("thinking is told in whole seconds, and never as none", () => {
  assert.deepEqual(spanOf(30, true), { minutes: 0, seconds: 1 });
  assert.deepEqual(spanOf(2_400, true), { minutes: 0, seconds: 2 });
  assert.deepEqual(spanOf(119_700, true), { minutes: 2, seconds: 0 });
});
