import assert from "node:assert/strict";
import { test } from "node:test";

import { Narrator } from "../../static/js/narrator.js";
import { sentencesEnd, spokenText } from "../../static/js/speech.js";

const words = (text) => spokenText(text, (lines) => `code, ${lines} lines`);

test("marks are not said", () => {
  const cases = [
    ["# A *very* **good** `day`", "A very good day"],
    ["- [x] done\n- [ ] not yet\n1. first", "done\nnot yet\n1. first"],
    ["> quoted\n> > twice", "quoted\ntwice"],
    ["See [the page](https://example.org/a_b) or <https://example.org>.", "See the page or https://example.org."],
    ["![a picture](https://example.org/x.png)", "a picture"],
    ["snake_case and _soft_ and __loud__ and ~~gone~~", "snake_case and soft and loud and gone"],
    ["2 \\* 3 is \\_six\\_", "2 * 3 is _six_"],
    ["a\n\n---\n\nb", "a\nb"],
    ["| Name | Age |\n|:---|---:|\n| Ann | 40 |", "Name, Age\nAnn, 40"],
    ["你好，**世界**。", "你好，世界。"],
  ];
  for (const [markdown, said] of cases) assert.equal(words(markdown), said);
});

test("of code its length is said", () => {
  assert.equal(words("Look:\n\n```python\na = 1\n\nb = 2\n```\n\nThat is all."), "Look:\ncode, 3 lines\nThat is all.");
  assert.equal(words("~~~~\n```\n~~~\n~~~~\nend"), "code, 2 lines\nend");
  assert.equal(words("```\nstill open"), "code, 1 lines");
});

test("a sentence has ended when something follows it, in Chinese with its mark", () => {
  const ended = (text, start = 0) => text.slice(start, sentencesEnd(text, start));
  assert.equal(ended("One. Two"), "One. ");
  assert.equal(ended("Version 3.5"), "");
  assert.equal(ended("One. Two. Three", 5), "Two. ");
  assert.equal(ended("天空是蓝色的。因为"), "天空是蓝色的。");
  assert.equal(ended("A line\nand another"), "A line\n");
  assert.equal(ended("Look.\n```\na. b\n"), "Look.\n");
  assert.equal(ended("```\na. b\n```\nDone"), "```\na. b\n```\n");
});

test("any cut of a text says the same, each word once", () => {
  const text = "First. Second one!\n\n```js\nlet a = 1. + 2;\n```\nThird? 第四。第五\n- last";
  for (let step = 1; step < 9; step++) {
    const parts = [];
    let told = 0;
    for (let length = 0; length <= text.length; length += step) {
      const end = sentencesEnd(text.slice(0, length), told);
      assert.ok(end >= told);
      parts.push(words(text.slice(told, end)));
      told = end;
    }
    parts.push(words(text.slice(told)));
    assert.equal(parts.filter(Boolean).join(" ").replace(/\s+/g, ""), words(text).replace(/\s+/g, ""));
  }
});

function narrator(choice) {
  const said = [];
  const say = (key, { count } = {}) => (count === undefined ? key : `${key} ${count}`);
  return { said, narrator: new Narrator({ choice: () => choice, speak: (text) => said.push(text), say }) };
}

test("each hears as much as she has chosen", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const heard = (choice, status = "done") => {
    const { said, narrator: it } = narrator(choice);
    let message = { id: "1", status: "streaming", text: "" };
    it.begin(message);
    for (const text of ["One. T", "One. Two. Thr"]) {
      message = { ...message, text };
      it.grow(() => message);
      context.mock.timers.tick(2000);
    }
    it.end({ id: "1", status, text: "One. Two. *Three.*" });
    return said;
  };
  assert.deepEqual(heard("off"), []);
  assert.deepEqual(heard("end"), ["streaming", "finished"]);
  assert.deepEqual(heard("sentences"), ["streaming", "One.", "Two.", "Three.\nfinished"]);
  assert.deepEqual(heard(undefined), ["streaming", "One. Two. Three."]);
  assert.deepEqual(heard(undefined, "failed"), ["streaming", "failed"]);
});

test("a reply that had begun before is told from here on", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { said, narrator: it } = narrator("sentences");
  it.grow(() => ({ id: "1", text: "Old. New" }));
  context.mock.timers.tick(2000);
  assert.deepEqual(said, []);
  it.end({ id: "1", status: "done", text: "Old. New one." });
  assert.deepEqual(said, ["New one.\nfinished"]);
});
