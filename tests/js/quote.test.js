import assert from "node:assert/strict";
import { test } from "node:test";
import { quoted } from "../../static/js/quote.js";

test("each line is quoted, and an empty one has no blank at its end", () => {
  assert.equal(quoted("one"), "> one");
  assert.equal(quoted("one\n\ntwo"), "> one\n>\n> two");
});
