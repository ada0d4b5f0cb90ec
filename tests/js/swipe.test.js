import assert from "node:assert/strict";
import { test } from "node:test";

import { swipeOf } from "../../static/js/swipe.js";

const swipe = (x, across, { down = 0, isOpen = false } = {}) => swipeOf({ x, y: 300 }, { x: x + across, y: 300 + down }, isOpen);

test("from the edge inward it opens, back it closes", () => {
  assert.equal(swipe(10, 120), "open");
  assert.equal(swipe(200, -120, { isOpen: true }), "close");
});

test("from elsewhere, too short, slanting or the wrong way it is nothing", () => {
  for (const [x, across, how] of [[120, 120], [10, 50], [10, 120, { down: 90 }], [10, 120, { down: -90 }], [200, -120], [10, 120, { isOpen: true }]]) {
    assert.equal(swipe(x, across, how), null);
  }
});
