// What a browser keeps of unsent messages and of drafts, for several tabs at once.

import assert from "node:assert/strict";
import { test } from "node:test";

import { keepPlace, keepWishes, keptPlace, keptWishes, withDraft } from "../../static/js/store.js";

/** As much of localStorage as is used: its keys are its own properties, its methods are not. */
class FakeStorage {
  getItem(key) {
    return Object.hasOwn(this, key) ? this[key] : null;
  }
  setItem(key, value) {
    this[key] = value;
  }
  removeItem(key) {
    delete this[key];
  }
}

const wish = (client_id, more = {}) => ({ client_id, type: "send_message", text: `text of ${client_id}`, ...more });
const ids = (user, conversation) => keptWishes(user, conversation).map((each) => each.client_id).sort();

test("the wishes of two tabs stand side by side", () => {
  globalThis.localStorage = new FakeStorage();
  keepWishes("1", "c", [], [wish("a")]);
  keepWishes("1", "c", [], [wish("b")]);
  assert.deepEqual(ids("1", "c"), ["a", "b"]);
  keepWishes("1", "c", [wish("b")], [wish("b", { confirmed: true })]);
  assert.deepEqual(ids("1", "c"), ["a"]);
  keepWishes("1", "c", [wish("a")], []);
  assert.deepEqual(ids("1", "c"), []);
});

test("nobody finds the wishes of somebody else, or of another conversation", () => {
  globalThis.localStorage = new FakeStorage();
  keepWishes("1", "c", [], [wish("a")]);
  assert.deepEqual([ids("2", "c"), ids("1", "d"), ids("11", "c")], [[], [], []]);
});

test("what cannot be read, or may not be, is no wish", () => {
  globalThis.localStorage = new FakeStorage();
  localStorage.setItem("parley:wish:1:c:x", "{");
  assert.deepEqual(keptWishes("1", "c"), []);
  delete globalThis.localStorage;
  keepWishes("1", "c", [], [wish("a")]);
  assert.deepEqual(keptWishes("1", "c"), []);
});

test("neither the draft is lost nor what was typed before it was there", () => {
  assert.equal(withDraft("", ""), "");
  assert.equal(withDraft("", "Half a thought"), "Half a thought");
  assert.equal(withDraft("Early", ""), "Early");
  assert.equal(withDraft("Early", "Half a thought"), "Half a thought\nEarly");
});

test("what a browser has put back by itself is not there twice", () => {
  assert.equal(withDraft("Half a thought", "Half a thought"), "Half a thought");
  assert.equal(withDraft("Half a", "Half a thought"), "Half a thought");
  assert.equal(withDraft("Half a thought more", "Half a thought"), "Half a thought more");
});

test("a place is kept for each of fifty conversations, the oldest goes", () => {
  globalThis.sessionStorage = new FakeStorage();
  for (let number = 0; number < 51; number++) keepPlace(`c${number}`, { message: "1", top: number });
  keepPlace("c1", { message: "2", top: 7 });
  assert.equal(keptPlace("c0"), null);
  assert.deepEqual(keptPlace("c1"), { message: "2", top: 7 });
  assert.equal(JSON.parse(sessionStorage.getItem("parley:places")).length, 50);
  keepPlace("c1", null);
  assert.equal(keptPlace("c1"), null);
  for (const broken of ["{", "null", "[1]", '{"a": 1}']) {
    sessionStorage.setItem("parley:places", broken);
    assert.equal(keptPlace("c2"), null);
  }
  delete globalThis.sessionStorage;
  keepPlace("c1", { message: "1", top: 0 });
  assert.equal(keptPlace("c1"), null);
});
