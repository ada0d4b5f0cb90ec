// A time in a sentence of the server, which the page says by its reader's clock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { withoutTime } from "../../static/js/times.js";

test("the time in a sentence is found, and the sentence without it is known", () => {
  const { known, when } = withoutTime("The server takes no more questions until 2026-05-04 14:32 UTC.");
  assert.equal(known, "The server takes no more questions until %(when)s.");
  assert.equal(when.toISOString(), "2026-05-04T14:32:00.000Z");
});

test("a sentence without a time stays as it is", () => {
  assert.deepEqual(withoutTime("The model is overloaded."), { known: "The model is overloaded.", when: null });
});
