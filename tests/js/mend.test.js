import assert from "node:assert/strict";
import { test } from "node:test";

import { Blocks } from "../../static/js/blocks.js";
import { markdownGrammar } from "../../static/js/grammar.js";

const md = markdownGrammar();
const open = (text) => new Blocks(md).next(text).open.trim();
const inline = (text) => open(text).replace(/^<p>|<\/p>$/g, "");

test("what is half written has its form at once", () => {
  assert.equal(inline("a **bo"), "a <strong>bo</strong>");
  assert.equal(inline("a **bo*"), "a <strong>bo</strong>");
  assert.equal(inline("***both**"), "<em><strong>both</strong></em>");
  assert.equal(inline("~~go"), "<s>go</s>");
  assert.equal(inline("**a *b"), "<strong>a <em>b</em></strong>");
  assert.equal(inline("**a `b"), "<strong>a <code>b</code></strong>");
  assert.equal(inline("``a ` b`"), "<code>a ` b</code>");
  assert.equal(inline("[the pa"), "the pa");
  assert.equal(inline("[the **page**](https://exam"), "the <strong>page</strong>");
  assert.equal(inline("![an image](ht"), "an image");
  assert.equal(inline("**“重"), "<strong>“重</strong>");
  assert.match(inline("$x^"), /^<span class="maths growing">x\^<\/span>$/);
});

test("marks that may become anything wait", () => {
  for (const text of ["a *", "a **", "a _", "a `", "a ``", "a [", "a !", "a ![", "a <", "a ~", "a \\", "a $", "a \\("]) assert.equal(inline(text).trim(), "a", text);
  for (const text of ["-", "1", "1.", "#", "##", "> -", "    -".trim(), "```", "$$", "| a | b", "| a | b |\n|--", "[a]: htt"]) assert.doesNotMatch(open(text).replace(/<[^>]*>/g, ""), /\S/, text);
  for (const text of ["- [", "- [ ", "- [x", "- [x]"]) assert.doesNotMatch(open(text), /[[\]x]/, text);
});

test("what is written to its end is left as it is", () => {
  for (const text of ["2 * 3 is 6", "a [1, 2] b", "it costs $5", "a < b", "x ~ y", "snake_case_name", "5 * x\n\n", "[x]\n\n", "what! and so"]) assert.equal(open(text), md.render(text).trim(), text);
  assert.equal(inline(`[${"long ".repeat(99)}`).startsWith("["), true);
});

test("only the end is mended", () => {
  assert.match(open("| *a | b |\n|---|---|\n| **c"), /<th>\*a<\/th>[^]*<td><strong>c<\/strong><\/td>/);
  assert.match(open("- *a\n- **c"), /<li>\*a<\/li>\n<li><strong>c<\/strong><\/li>/);
  assert.match(open("- a *b\n  ```\n  **c"), /a \*b[^]*\*\*c/);
});

test("a footnote is a mark wherever it stands, and stays where it is written", () => {
  assert.equal(md.renderInline("a[^1] and b[^some-note]"), 'a<sup class="footnote-mark">1</sup> and b<sup class="footnote-mark">some-note</sup>');
  assert.equal(md.render("[^1]: One\n[^bb]: Two\n    more\n\nend"), '<div class="footnote"><sup>1</sup>\n<p>One</p>\n</div>\n<div class="footnote"><sup>bb</sup>\n<p>Two\nmore</p>\n</div>\n<p>end</p>\n');
  for (const text of ["[^a-z]", "[^]", "[^ a]", "`[^1]`", "\\[^1]"]) assert.doesNotMatch(md.renderInline(text), /<sup/, text);
  assert.equal(inline("a[^so"), "a");
  assert.match(md.render("[^x<img>]: no"), /&lt;img&gt;/);
});

test("a long block is given out in pieces", () => {
  const blocks = new Blocks(md, 60);
  const list = (count) => Array.from({ length: count }, (_, number) => `${number + 3}. item\n`).join("");
  const { grown, open: rest } = blocks.next(list(8));
  assert.match(grown, /^<ol start="3">\n(<li>item<\/li>\n){7}<\/ol>\n$/);
  assert.match(rest, /^<ol[^>]*>\n<li>item<\/li>\n<\/ol>\n$/);
  assert.equal(blocks.next(`${list(8)}\n9. loose\n`).again, true);
});
