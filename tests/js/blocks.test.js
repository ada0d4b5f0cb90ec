import assert from "node:assert/strict";
import { test } from "node:test";

import { Blocks } from "../../static/js/blocks.js";
import { markdownGrammar } from "../../static/js/grammar.js";
import { randomness } from "./randomness.js";

const md = markdownGrammar();

function fed(pieces) {
  const blocks = new Blocks(md);
  let text = "";
  let html = "";
  for (const piece of pieces) {
    text += piece;
    html += blocks.next(text).closed;
    blocks.openFence(text);
  }
  html += blocks.next(text, true).closed;
  return blocks.lateDefinitions ? md.render(text) : html;
}

const CASES = [
  "Hello", "a\nb", "a  \nb", "a\\\nb", "# One\n## Two\ntext", "One\n===\nTwo\n---\n", "text\n# head\ntext", "#not\n#hash tag",
  "- a\n- b\n\n- c", "- a\n\n  b\n- c\n\npara", "1. a\n2. b\n3) c", "text\n2. no list", "text\n1. list", "- a\n  - b\n    - c\n- d\n\n\n- e", "-\n- x\n-",
  "para\n-\nmore", "a\n***\nb\n---\nc\n___", "> a\n> b\nlazy\n\n> c\n\nd", "> - a\n>   b\n> ```\n> code\n> ```\nx",
  "    code\n\n    more\ntext", "para\n    no code", "```js\nlet a = 1\n\n# no head\n```\nafter", "~~~\n```\n~~~\n", "````\n```\n````\nx", "```\nnever closed\n\nmore", "``` a`b\ntext", "   ```\n   x\n   ```",
  "```\nx\n``\n````\ny", "| a | b |\n|---|:-:|\n| 1 | 2 |\n\ntext", "text\na | b\n-|-\n1 | 2\nend", "| a |\n| b |\n", "| a | b |\n|--",
  "[a]: http://a.b/\n\n[a] and [b]\n\n[b]: http://c.d/\n", "[late]\n\npara\n\n[late]: http://x.y/\n", "[x]:\nhttp://a.b/\n'title'\n\n[x]", "[x]: <no\n\n[x]",
  "**bold *both* bold** __u__ ~~gone~~ `code ** x`", "**open", "a * b * c", "`open", "[open](http://x", "![img](http://a.b/c.png) [![b](http://a.b/d.png)](http://e.f/)",
  "- [ ] todo\n- [x] done\n- [x]no", "$$\nx = 1\n\n$$ text", "$$\na\n- b\n$$\nafter", "\\[\nx\n# y\n\\]", "$$x$$\n\ntext $y$ \\(z\\)", "price $5, $6 and $7", "$$\nnever closed\n- list\n",
  "**“重点”**文字，**中文：**后面", "中文 *强调* 与**粗体**。", "<b>no html</b>\n\n<div>\n\nx", "a\n\n\n\n\nb", "\n\n  x", "\t- tab\n\t- tab", "line\r\nline\r\n\r\n# head\r\n", "* * *\n- - -\n", "Setext\nof two\n=", "a\n=\nb", "foo\n\n[foo]: /url 'x' junk\n",
  "1. one\n\n   ```sh\n   ls\n   ```\n\n2. two\n", "- a\n\n\n\n      code?\n", "👩‍👩‍👧 **𝟚** 🙂",
];

test("Markdown fed a character at a time equals the one-shot rendering", () => {
  for (const text of CASES) assert.equal(fed(text), md.render(text), JSON.stringify(text));
});

test("Markdown put together and cut at random equals the one-shot rendering", () => {
  const random = randomness(7);
  for (let round = 0; round < 600; round++) {
    const parts = Array.from({ length: 2 + random.below(4) }, () => CASES[random.below(CASES.length)] + ["", "\n", "\n\n"][random.below(3)]);
    const text = parts.join("");
    const pieces = [];
    for (let at = 0; at < text.length; ) pieces.push(text.slice(at, (at += 1 + random.below(12))));
    assert.equal(fed(pieces), md.render(text), JSON.stringify(text));
  }
});

test("what has closed is given out once, the rest stays open", () => {
  const blocks = new Blocks(md);
  assert.deepEqual(blocks.next("# A\n\nte"), { closed: "", grown: "", open: "<h1>A</h1>\n<p>te</p>\n" });
  assert.deepEqual(blocks.next("# A\n\ntext\n**bo"), { closed: "<h1>A</h1>\n", open: "<p>text\n<strong>bo</strong></p>\n", grown: "" });
  assert.deepEqual(blocks.next("# A\n\ntext\n**bo**", true), { closed: "<p>text\n<strong>bo</strong></p>\n", open: "", grown: "" });
});

test("marks that may become anything are held back", () => {
  const open = (text) => new Blocks(md).next(text).open;
  assert.equal(open("text\n-"), "<p>text</p>\n");
  assert.equal(open("text\n\n| a | b |\n|--"), "");
  assert.match(open("$$\nx"), /class="maths growing">x</);
});

test("an open fence is known with its code, and without the fence that may be closing it", () => {
  const fence = (text) => {
    const blocks = new Blocks(md);
    blocks.next(text);
    return blocks.openFence(text);
  };
  assert.deepEqual(fence("a\n\n```js x\nlet a\n"), { language: "js", code: "let a\n" });
  assert.deepEqual(fence("```\na\n``"), { language: "", code: "a\n" });
  assert.equal(fence("```\na\n```"), null);
  assert.equal(fence("```\na\n```\nb"), null);
  assert.equal(fence("text"), null);
});

test("a link says where it leads and no image is loaded", () => {
  assert.equal(md.renderInline("[a](https://b.c/d)"), '<a href="https://b.c/d" title="b.c" target="_blank" rel="noopener noreferrer">a</a>');
  assert.doesNotMatch(md.render("![x](https://b.c/d.png) [a](javascript:alert(1)) ![y](data:image/png;base64,AA) <img src=x>"), /<img|href="(javascript|data)/);
});

test("prices are no maths", () => {
  for (const text of ["It costs $5 and $10.", "$5-$10", "US$ 5 or $", "a$b$c $"]) assert.doesNotMatch(md.render(text), /maths/, text);
  for (const text of ["$x$", "($x^2$)", "其中$E=mc^2$。", "\\(a\\)", "so $a_1$, $a_2$"]) assert.match(md.render(text), /maths/, text);
});
