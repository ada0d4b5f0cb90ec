import assert from "node:assert/strict";
import { test } from "node:test";

import { Attention } from "../../static/js/attention.js";

/** A tab, and what its browser shows of it. */
function tab() {
  const seen = [];
  const page = { hidden: false, title: "", addEventListener: (_, look) => seen.push(look) };
  const icon = {
    href: "usual.svg",
    dataset: { finished: "finished.svg" },
    getAttribute: () => icon.href,
    setAttribute: (_, address) => (icon.href = address),
  };
  const attention = new Attention(icon, page);
  const look = (hidden) => {
    page.hidden = hidden;
    for (const each of seen) each();
  };
  return { look, shown: () => [page.title, icon.href], reply: (running) => attention.update({ running, title: "Tea" }) };
}

test("a reply that ends unseen is told of until somebody looks", () => {
  const { look, shown, reply } = tab();
  reply(true);
  assert.deepEqual(shown(), ["● Tea · Parley", "usual.svg"]);
  look(true);
  assert.deepEqual(shown(), ["● Tea · Parley", "usual.svg"]);
  reply(false);
  reply(false);
  assert.deepEqual(shown(), ["✓ Tea · Parley", "finished.svg"]);
  look(false);
  assert.deepEqual(shown(), ["Tea · Parley", "usual.svg"]);
  look(true);
  assert.deepEqual(shown(), ["Tea · Parley", "usual.svg"]);
});

test("one that ends before somebody's eyes is not, and one that begins takes the place of the last", () => {
  const { look, shown, reply } = tab();
  reply(true);
  reply(false);
  look(true);
  assert.deepEqual(shown(), ["Tea · Parley", "usual.svg"]);
  reply(true);
  reply(false);
  reply(true);
  assert.deepEqual(shown(), ["● Tea · Parley", "usual.svg"]);
});
