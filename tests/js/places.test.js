import assert from "node:assert/strict";
import { test } from "node:test";
import { nextPlace, placeBefore, wantedBy } from "../../static/js/places.js";

const TEXT = "Dear {{name}}, translate {{text}} into {{语言}}.";

test("places are found one after the other", () => {
  assert.deepEqual(nextPlace(TEXT, 0), { start: 5, end: 13 });
  assert.deepEqual(nextPlace(TEXT, 13), { start: 25, end: 33 });
  assert.equal(TEXT.slice(nextPlace(TEXT, 33).start, nextPlace(TEXT, 33).end), "{{语言}}");
  assert.equal(nextPlace(TEXT, 40), null);
});

test("and back", () => {
  assert.deepEqual(placeBefore(TEXT, 25), { start: 5, end: 13 });
  assert.equal(placeBefore(TEXT, 12), null);
});

test("what is no place is none", () => {
  for (const text of ["{name}", "{{}}", "{{a\nb}}", "{{{a}", "}}{{", `{{${"x".repeat(61)}}}`]) assert.equal(nextPlace(text, 0), null, text);
});

test("a slash at the beginning looks for a prompt, as long as it may be a name", () => {
  assert.equal(wantedBy("/"), "");
  assert.equal(wantedBy("/ Write  a "), "Write  a");
  assert.equal(wantedBy("/翻译"), "翻译");
  for (const text of ["", "a/b", " /a", "/a\nb", `/${"x".repeat(61)}`]) assert.equal(wantedBy(text), null, text);
});
