import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { codePoints } from "../../static/js/growing.js";
import { apply, emptyTranscript, hasOlder, messageOf, placeOf, runningReply, shownMessages, toSnapshot } from "../../static/js/transcript.js";
import { wishesToSend } from "../../static/js/wishes.js";
import { randomness } from "./randomness.js";

const message = (id, parent, role, text = "", more = {}) => ({ id, parent, role, text, reasoning: "", status: "done", client_id: null, ...more });
const snapshot = (version, head, messages, more = {}) => ({ type: "conversation_snapshot", version, conversation: { id: "c", title: "", head }, members: [], messages, replies: [], ...more });
const created = (version, made) => ({ type: "message_created", version, message: made, head: made.id });
const delta = (start, text, reply = "2") => ({ type: "reply_delta", reply, part: "text", start, end: start + codePoints(text), text });
const after = (...all) => all.reduce(([state], event) => apply(state, event), [emptyTranscript(), []]);
const asked = () => snapshot(3, "2", [message("1", null, "user", "Hi"), message("2", "1", "assistant", "", { status: "queued" })]);

function ended(version, text, reply = "2") {
  const sha256 = createHash("sha256").update(text).digest("hex");
  return { type: "reply_ended", version, reply, status: "done", finish_reason: "stop", length: codePoints(text), sha256, error: null };
}

test("a gap in the text is asked for from where this tab stands, once", () => {
  const [state, toDo] = after(asked(), delta(0, "ab"), delta(4, "ef"));
  assert.deepEqual(toDo, [{ type: "sync", replies: { 2: { text: 2, reasoning: 0 } } }]);
  assert.deepEqual(apply(state, delta(6, "gh"))[1], []);
  assert.equal(messageOf(state, "2").text, "ab");
});

test("a gap in the versions is asked for from the version this tab holds", () => {
  const [state, toDo] = after(asked(), { type: "conversation_changed", version: 5, title: "later" });
  assert.deepEqual(toDo, [{ type: "sync", version: 3 }]);
  assert.equal(state.version, 3);
  assert.equal(state.conversation.title, "");
});

test("a sync that was never answered is asked for again after fifty misfits", () => {
  let [state] = after(asked());
  let syncs = 0;
  for (let i = 0; i < 101; i++) {
    const [next, toDo] = apply(state, delta(10 + i, "x"));
    state = next;
    syncs += toDo.length;
  }
  assert.equal(syncs, 3);
});

test("a new socket asks again at once", () => {
  let [state] = after(asked(), delta(4, "ef"));
  [state] = apply(state, { type: "connected" });
  assert.equal(apply(state, delta(5, "f"))[1].length, 1);
});

test("a delta whose text and positions disagree is not taken", () => {
  const [state, toDo] = after(asked(), { ...delta(0, "🙂"), end: 2 });
  assert.equal(messageOf(state, "2").text, "");
  assert.equal(toDo.length, 1);
});

test("the end of a reply orders its hash to be verified when the length is right", () => {
  const [, toDo] = after(asked(), delta(0, "🙂!"), ended(4, "🙂!"));
  assert.deepEqual(toDo.map(({ type, reply, length }) => [type, reply, length]), [["verify", "2", 2]]);
});

test("a doubted reply shows its old text until the new one is whole", () => {
  let [state] = after(asked(), delta(0, "Fuor"), ended(4, "Four"));
  const [doubted, toDo] = apply(state, { type: "reply_doubted", reply: "2", length: 4 });
  assert.deepEqual(toDo, [{ type: "sync", replies: { 2: { text: 0, reasoning: 0 } } }]);
  [state] = apply(doubted, delta(0, "Fo"));
  [state] = apply(state, delta(2, "ur"));
  assert.equal(messageOf(state, "2").text, "Four");
  assert.equal(messageOf(state, "2").status, "done");
  assert.equal(state.growing.size, 0);
});

test("a new connection goes on from the version and from where the texts stand", () => {
  assert.equal(placeOf(after(asked())[0]), "3");
  assert.equal(placeOf(after(asked(), delta(0, "Fo🙂"))[0]), "3,2.3.0");
  assert.equal(placeOf(after(asked(), delta(0, "Fo"), ended(4, "Four"))[0]), "4,2.2.0");
  assert.equal(placeOf(after(asked(), delta(0, "Four"), ended(4, "Four"))[0]), "4");
});

test("a doubted reply is asked for from its beginning, also by a new connection", () => {
  const [state] = after(asked(), delta(0, "Fuor"), ended(4, "Four"), { type: "reply_doubted", reply: "2", length: 4 });
  assert.equal(placeOf(state), "4,2.0.0");
});

const long = { text: "Fo", text_end: 2, length: 4, reasoning_end: 0, reasoning_length: 0 };

test("of a long message an event brings the beginning, and deltas the rest", () => {
  for (const role of ["user", "assistant"]) {
    const [state] = after(snapshot(3, "2", [message("1", null, "user"), message("2", "1", role, "", long)]));
    assert.equal(messageOf(state, "2").text, "Fo");
    assert.equal(placeOf(state), "3,2.2.0");
    assert.equal(runningReply(state), null);
    const [whole, toDo] = apply(state, delta(2, "ur"));
    assert.equal(messageOf(whole, "2").text, "Four");
    assert.deepEqual(toDo, []);
    assert.equal(placeOf(whole), "3");
  }
});

test("a beginning takes nothing back", () => {
  const whole = snapshot(3, "2", [message("1", null, "user"), message("2", "1", "assistant", "Four")]);
  const [again] = after(whole, snapshot(4, "2", [message("1", null, "user"), message("2", "1", "assistant", "", long)]));
  assert.equal(messageOf(again, "2").text, "Four");
  assert.equal(placeOf(again), "4");
  const [changed] = after(whole, { type: "message_changed", version: 4, message: { id: "2", sight: "1", ...long } });
  assert.deepEqual([messageOf(changed, "2").text, messageOf(changed, "2").sight], ["Four", "1"]);
  const [half] = after(snapshot(3, "2", [message("1", null, "user"), message("2", "1", "assistant", "", long)]), delta(2, "u"));
  const [still] = apply(half, snapshot(4, "2", [message("1", null, "user"), message("2", "1", "assistant", "", long)]));
  assert.equal(messageOf(still, "2").text, "Fou");
});

test("of a long reasoning the rest is told, too, also where the text is whole", () => {
  const short = { text: "Four", text_end: 4, length: 4, reasoning: "1", reasoning_end: 1, reasoning_length: 5 };
  let [state] = after(snapshot(3, "2", [message("1", null, "user"), message("2", "1", "assistant", "", short)]));
  for (const [start, text] of [[1, " +"], [3, " 3"]]) {
    assert.equal(messageOf(state, "2").partial, true);
    assert.equal(messageOf(state, "2").status, "done");
    [state] = apply(state, { ...delta(start, text), part: "reasoning" });
  }
  assert.deepEqual([messageOf(state, "2").reasoning, messageOf(state, "2").partial], ["1 + 3", undefined]);
});

test("a status that is not known is an end, and nothing can be stopped", () => {
  const [state] = after(asked(), delta(0, "Four"), { ...ended(4, "Four"), status: "parked" });
  assert.equal(messageOf(state, "2").status, "parked");
  assert.equal(runningReply(state), null);
  const [other] = after(snapshot(3, "2", [message("1", null, "user"), message("2", "1", "assistant", "x", { status: "parked" })]));
  assert.equal(runningReply(other), null);
  assert.equal(placeOf(other), "3");
});

test("deltas of an unknown reply make the tab ask for what it missed", () => {
  assert.deepEqual(after(asked(), delta(0, "x", "9"))[1], [{ type: "sync", version: 3 }]);
});

test("deltas of an ended reply are old", () => {
  const [state] = after(asked(), delta(0, "Four"), ended(4, "Four"));
  assert.deepEqual(apply(state, delta(4, "teen")), [state, []]);
});

test("the running reply is the one to stop", () => {
  const [state] = after(asked());
  assert.equal(runningReply(state).id, "2");
  const [done] = after(asked(), delta(0, "x"), ended(4, "x"));
  assert.equal(runningReply(done), null);
});

test("a head that is not known leaves the old branch on the page and asks for a whole snapshot", () => {
  const [state, toDo] = after(asked(), { type: "conversation_changed", version: 4, head: "77" });
  assert.deepEqual(toDo, [{ type: "sync" }]);
  assert.deepEqual(shownMessages(state).map((each) => each.id), ["1", "2"]);
});

test("a snapshot that was asked for and did not come is what the next connection begins with", () => {
  const [state] = after(asked(), { type: "conversation_changed", version: 4, head: "77" }, { type: "connected" });
  assert.equal(placeOf(state), "");
  const [found] = apply(state, snapshot(4, "77", [message("77", null, "user")]));
  assert.equal(placeOf(found), "4");
});

test("an edit above the loaded window asks for a whole snapshot", () => {
  const window = snapshot(9, "12", [message("11", "10", "user"), message("12", "11", "assistant")], { more: true });
  const [state, toDo] = after(window, created(10, message("13", "4", "user")));
  assert.deepEqual(toDo, [{ type: "sync" }]);
  assert.deepEqual(shownMessages(state).map((each) => each.id), ["11", "12"]);
});

test("earlier messages are put above, and only where they fit", () => {
  const window = snapshot(9, "12", [message("11", "10", "user"), message("12", "11", "assistant")], { more: true });
  let [state] = after(window, { type: "older_messages", messages: [message("3", "2", "user")], more: true });
  assert.equal(shownMessages(state).length, 2);
  [state] = apply(state, { type: "older_messages", messages: [message("9", null, "user"), message("10", "9", "assistant")], more: false });
  assert.deepEqual(shownMessages(state).map((each) => each.id), ["9", "10", "11", "12"]);
  assert.equal(hasOlder(state), false);
});

test("siblings are kept even where the server does not list them", () => {
  const [state] = after(asked(), created(4, message("5", "1", "assistant")));
  assert.deepEqual(messageOf(state, "5").siblings, ["5"]);
  const [next] = apply(state, created(5, message("6", "1", "assistant")));
  assert.deepEqual(messageOf(next, "5").siblings, ["5", "6"]);
});

test("a wish is sent until it is confirmed, and shown until its message comes", () => {
  const wish = { type: "send_message", client_id: "k", text: "Hi" };
  let [state] = after(asked(), { type: "wish_made", wish }, { type: "wish_made", wish });
  assert.deepEqual(wishesToSend(state.wishes), [wish]);
  [state] = apply(state, { type: "command_done", client_id: "k" });
  assert.deepEqual([wishesToSend(state.wishes).length, state.wishes.length], [0, 1]);
  [state] = apply(state, created(4, message("3", "2", "user", "Hi", { client_id: "k" })));
  assert.equal(state.wishes.length, 0);
});

test("a refused wish stays, with the reason, and is not sent by itself", () => {
  const wish = { type: "send_message", client_id: "k", text: "Hi" };
  const [state] = after(asked(), { type: "wish_made", wish }, { type: "command_refused", client_id: "k", code: "too_fast", detail: "Wait." });
  assert.deepEqual(state.wishes[0].refused, { code: "too_fast", detail: "Wait." });
  assert.deepEqual(wishesToSend(state.wishes), []);
});

test("a refusal of something else changes nothing", () => {
  const [state] = after(asked());
  assert.deepEqual(apply(state, { type: "command_refused", ref: "1", code: "busy", detail: "" }), [state, []]);
});

test("an older snapshot does not take the tab back", () => {
  const [state] = after(asked(), created(4, message("3", "2", "user", "more")));
  assert.deepEqual(apply(state, asked()), [state, []]);
});

test("states are not changed in place", () => {
  const [state] = after(asked(), delta(0, "a"));
  const before = JSON.stringify(toSnapshot(state));
  for (const event of [delta(1, "b"), ended(4, "a"), created(4, message("3", "2", "user")), { type: "conversation_changed", version: 4, title: "x" }]) apply(state, event);
  assert.equal(JSON.stringify(toSnapshot(state)), before);
});

// A server that answers `sync` as the protocol says, behind a network that loses, doubles and reorders its deltas.

const LETTERS = [..."abc é中文𝟚🙂👩‍👩‍👧\n"];

function badNetwork(random, text) {
  const points = [...text];
  const events = [];
  for (let start = 0; start < points.length; ) {
    const end = Math.min(points.length, start + 1 + random.below(5));
    events.push(delta(start, points.slice(start, end).join("")));
    start = end;
  }
  const sent = events.filter(() => random.below(10) > 1);
  for (let i = sent.length - 1; i >= 0; i--) {
    if (random.below(6) === 0) sent.splice(i + random.below(4), 0, sent[i]);
    if (random.below(6) === 0) sent.splice(i + random.below(4), 0, sent.splice(i, 1)[0]);
  }
  return sent.filter(Boolean);
}

test("lost, doubled and reordered deltas end at the right text, for 500 networks", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const random = randomness(seed);
    const text = Array.from({ length: random.below(60) }, () => LETTERS[random.below(LETTERS.length)]).join("");
    const points = [...text];
    let [state] = after(asked());
    const queue = [...badNetwork(random, text), ended(4, text)];
    let whole = false; // whether the server has all of the reply by now
    while (queue.length > 0) {
      const event = queue.shift();
      whole ||= event.type === "reply_ended";
      const [next, toDo] = apply(state, event);
      assert.ok(text.startsWith(messageOf(next, "2").text), `seed ${seed}: what is shown is a prefix`);
      state = next;
      for (const { replies } of toDo.filter(({ type }) => type === "sync")) {
        const start = replies["2"].text;
        const upTo = whole ? points.length : start + random.below(points.length - start + 1);
        queue.splice(random.below(2), 0, delta(start, points.slice(start, upTo).join("")));
      }
    }
    assert.equal(messageOf(state, "2").text, text, `seed ${seed}`);
    assert.equal(state.growing.size, 0, `seed ${seed}`);
  }
});

test("what is deleted goes with all that follows it, and where nothing is left one may begin anew", () => {
  const message = (id, parent, more = {}) => ({ id, parent, role: parent ? "assistant" : "user", text: id, reasoning: "", status: "done", siblings: [id], ...more });
  const snapshot = { type: "conversation_snapshot", version: 1, conversation: { id: "c", head: "2" }, messages: [message("1", null), message("2", "1")], replies: [] };
  let [state, toDo] = apply(apply(emptyTranscript(), snapshot)[0], { type: "conversation_changed", version: 2, removed: "1", head: null });
  assert.deepEqual([shownMessages(state), toDo, state.messages.size, state.top], [[], [], 0, null]);
  [state, toDo] = apply(state, { type: "message_created", version: 3, message: message("3", null, { siblings: undefined }), head: "3" });
  assert.deepEqual([shownMessages(state).map(({ id, siblings }) => [id, siblings]), toDo], [[["3", ["3"]]], []]);
});

test("what is deleted above the loaded window needs a snapshot; on another branch it needs nothing", () => {
  const message = (id, parent, siblings = [id]) => ({ id, parent, role: "user", text: id, reasoning: "", status: "done", siblings });
  const snapshot = { type: "conversation_snapshot", version: 1, conversation: { id: "c", head: "9" }, messages: [message("8", "7"), message("9", "8", ["9", "10"])], more: true, replies: [] };
  const [state] = apply(emptyTranscript(), snapshot);
  assert.deepEqual(apply(state, { type: "conversation_changed", version: 2, removed: "5", head: "4" })[1], [{ type: "sync" }]);
  const [next, toDo] = apply(state, { type: "conversation_changed", version: 2, removed: "10" });
  assert.deepEqual([shownMessages(next).map(({ siblings }) => siblings), toDo], [[["8"], ["9"]], []]);
});
