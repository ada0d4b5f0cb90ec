// The golden logs are read by both languages: a snapshot plus the events after it is the next snapshot.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { apply, emptyTranscript, toSnapshot } from "../../static/js/transcript.js";

const folder = new URL("../events/", import.meta.url);

for (const file of readdirSync(folder)) {
  const { name, snapshot, events, after } = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
  test(`${file}: ${name}`, () => {
    let [transcript] = apply(emptyTranscript(), snapshot);
    for (const event of events) [transcript] = apply(transcript, event);
    assert.deepEqual(toSnapshot(transcript), after);
  });
}

test("a snapshot alone is itself again", () => {
  for (const file of readdirSync(folder)) {
    const { after } = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
    assert.deepEqual(toSnapshot(apply(emptyTranscript(), after)[0]), after);
  }
});
