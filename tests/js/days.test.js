import assert from "node:assert/strict";
import { test } from "node:test";

import { headingOf } from "../../static/js/days.js";

const now = new Date(2026, 2, 15, 0, 30);
const heading = (...date) => headingOf(new Date(...date), now);

test("days are counted from midnight, not in hours", () => {
  assert.deepEqual(heading(2026, 2, 15, 0, 1), { key: "today" });
  assert.deepEqual(heading(2026, 2, 14, 23, 59), { key: "yesterday" });
  assert.deepEqual(heading(2026, 2, 13, 23, 59), { key: "week" });
});

test("older ones stand under spans of days, then under their month", () => {
  assert.deepEqual(heading(2026, 2, 9), { key: "week" });
  assert.deepEqual(heading(2026, 2, 8), { key: "month" });
  assert.deepEqual(heading(2026, 1, 13), { month: new Date(2026, 1, 1) });
});

test("a clock that runs ahead is today", () => {
  assert.deepEqual(heading(2026, 2, 16), { key: "today" });
});
