import assert from "node:assert/strict";
import { test } from "node:test";
import { estimatedTokens, rounded, sizeOf } from "../../static/js/tokens.js";

test("tokens are bytes by four, as the server counts them", () => {
  assert.equal(estimatedTokens(""), 0);
  assert.equal(estimatedTokens("four"), 1);
  assert.equal(estimatedTokens("fours"), 2);
  assert.equal(estimatedTokens("数据库连接池"), 5); // 18 bytes
  assert.equal(estimatedTokens("😀"), 1);
});

test("a few lines are not worth a word", () => {
  assert.equal(sizeOf("x".repeat(1996), 16_000).standing, "");
  assert.deepEqual(sizeOf("x".repeat(1997), 16_000), { tokens: 500, standing: "long" });
  assert.deepEqual(sizeOf("字".repeat(667), 16_000), { tokens: 501, standing: "long" });
});

test("near what a model is shown, and over it", () => {
  assert.equal(sizeOf("x".repeat(4 * 12_799), 16_000).standing, "long");
  assert.equal(sizeOf("x".repeat(4 * 12_800), 16_000).standing, "near");
  assert.equal(sizeOf("x".repeat(4 * 16_000), 16_000).standing, "near");
  assert.equal(sizeOf("x".repeat(4 * 16_000 + 1), 16_000).standing, "over");
});

test("a small budget is near also with a few lines", () => {
  assert.equal(sizeOf("x".repeat(4 * 204), 256).standing, "");
  assert.equal(sizeOf("x".repeat(4 * 205), 256).standing, "near");
  assert.equal(sizeOf("x".repeat(4 * 257), 256).standing, "over");
});

test("no more digits are shown than are true", () => {
  assert.deepEqual([1, 99, 501, 1234, 12_800, 16_449].map(rounded), [1, 99, 500, 1200, 13_000, 16_000]);
});
