import assert from "node:assert/strict";
import { test } from "node:test";

import { afterClose, closeOf, delayOf, mayReload } from "../../static/js/schedule.js";

test("the delays grow to fifteen seconds and stay there", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 99].map((attempt) => delayOf(attempt, 0.5)), [200, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
});

test("chance spreads a delay between half and one and a half of it", () => {
  assert.equal(delayOf(2, 0), 500);
  assert.ok(delayOf(2, 0.999) < 1500);
});

test("each close code has its answer", () => {
  assert.deepEqual(afterClose(4400), { again: false, wait: 0, words: "closed_protocol", action: "reload" });
  assert.deepEqual(afterClose(4401), { again: false, wait: 0, words: "closed_signed_out", action: "sign_in" });
  assert.deepEqual(afterClose(4404), { again: false, wait: 0, words: "closed_gone", action: "leave" });
  for (const code of [1000, 1001, 1006, 1011, 1012, 4408, 4413, 4999]) assert.equal(afterClose(code).again, true, code);
});

test("a busy server says how long to stay away", () => {
  assert.equal(afterClose(4429, "Come back in 12 s.").wait, 12_000);
  assert.equal(afterClose(4429, "retry_after=0.5").wait, 500);
  assert.equal(afterClose(4429, "").wait, 5_000);
  assert.equal(afterClose(4429, "999999").wait, 600_000);
});

test("what refuses an event stream is what closes a socket", () => {
  const refused = (status, body) => closeOf(status, body).code;
  assert.deepEqual([refused(401, { code: "forbidden" }), refused(404, { code: "not_found" }), refused(503, { code: "unavailable" })], [4401, 4404, 1013]);
  assert.equal(refused(400, { code: "not_spoken" }), 4400);
  assert.equal(afterClose(...Object.values(closeOf(429, { code: "too_fast", retry_after: 12 }))).wait, 12_000);
  assert.equal(afterClose(...Object.values(closeOf(503, { code: "unavailable", retry_after: 3 }))).wait, 3_000);
});

test("only our own server's word is one: a proxy's is a lost connection", () => {
  for (const status of [200, 400, 401, 403, 404, 429, 502, 503]) assert.equal(afterClose(closeOf(status).code).again, true, status);
});

test("a page that is too old reloads by itself once", () => {
  assert.equal(mayReload(-Infinity, 1_000), true);
  assert.equal(mayReload(1_000, 60_000), false);
  assert.equal(mayReload(1_000, 3_600_000), true);
});
