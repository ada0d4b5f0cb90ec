import assert from "node:assert/strict";
import { test } from "node:test";
import { partsOf } from "../../static/js/marks.js";

const shown = (text, marks) => partsOf(text, marks).map(({ text: part, hit }) => (hit ? `[${part}]` : part)).join("");

test("hits are cut out, wherever they are", () => {
  assert.equal(shown("the teapot", [[4, 10]]), "the [teapot]");
  assert.equal(shown("tea, tea", [[0, 3], [5, 8]]), "[tea], [tea]");
  assert.equal(shown("nothing", []), "nothing");
  assert.equal(shown("", []), "");
});

test("places are code points, not halves of them", () => {
  assert.equal(shown("😀😀连接池", [[2, 4]]), "😀😀[连接]池");
});

test("marks that overlap or lie outside say no text twice", () => {
  assert.equal(shown("abcdef", [[1, 4], [3, 5], [5, 99]]), "a[bcd][e][f]");
});
