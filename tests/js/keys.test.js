import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.navigator ??= { platform: "" };
const { nameOf, sends } = await import("../../static/js/keys.js");
const press = (key, more = {}) => nameOf({ key, keyCode: 0, ...more }, more.mac ?? false);

test("keys have names", () => {
  assert.equal(press("k", { ctrlKey: true }), "Mod+k");
  assert.equal(press("K", { ctrlKey: true, shiftKey: true }), "Mod+Shift+k");
  assert.equal(press("Escape", { shiftKey: true }), "Shift+Escape");
  assert.equal(press("ArrowUp"), "ArrowUp");
});

test("on a Mac it is the other key", () => {
  assert.equal(press("k", { metaKey: true, mac: true }), "Mod+k");
  assert.equal(press("k", { ctrlKey: true, mac: true }), "");
});

test("a slash is one also where it needs Shift", () => {
  assert.equal(press("/", { ctrlKey: true, shiftKey: true }), "Mod+/");
});

test("what an input method composes is its own, and Alt is the browser's", () => {
  assert.equal(press("ArrowUp", { isComposing: true }), "");
  assert.equal(press("k", { keyCode: 229, ctrlKey: true }), "");
  assert.equal(press("k", { altKey: true, ctrlKey: true }), "");
});

test("Enter sends, or Ctrl+Enter for who has chosen that", () => {
  const enter = (choice, more = {}) => sends({ key: "Enter", ...more }, choice);
  assert.equal(enter(undefined), true);
  assert.equal(enter(undefined, { shiftKey: true }), false);
  assert.equal(enter(undefined, { isComposing: true }), false);
  assert.equal(enter("mod"), false);
  assert.equal(enter("mod", { ctrlKey: true }), true);
  assert.equal(enter("mod", { metaKey: true }), true);
  assert.equal(enter("mod", { ctrlKey: true, isComposing: true }), false);
});
