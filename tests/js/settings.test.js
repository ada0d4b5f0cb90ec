import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document ??= { getElementById: () => null, documentElement: { lang: "en" } };
const { changesIn } = await import("../../static/js/settings.js");

const conversation = { system_prompt: "Be brief.", parameters: { temperature: 0.2, reasoning_effort: "low" } };
const form = { system_prompt: "Be brief.", temperature: "0.2", top_p: "", max_tokens: "", reasoning_effort: "low" };

test("what stays is not said", () => {
  assert.equal(changesIn(form, conversation), null);
  assert.equal(changesIn({ ...form, temperature: "0.20", system_prompt: "Be brief.\n" }, conversation), null);
});

test("what changes is said alone, so that two people may change two things", () => {
  assert.deepEqual(changesIn({ ...form, top_p: "0.5" }, conversation), { parameters: { top_p: 0.5 } });
  assert.deepEqual(changesIn({ ...form, system_prompt: "" }, conversation), { system_prompt: "" });
});

test("what is emptied is the server's own again, and nought is a number", () => {
  assert.deepEqual(changesIn({ ...form, temperature: "", reasoning_effort: "" }, conversation), { parameters: { temperature: null, reasoning_effort: null } });
  assert.deepEqual(changesIn({ ...form, temperature: "0" }, conversation), { parameters: { temperature: 0 } });
});
