import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser } from "../../static/js/sse.js";

const told = (...pieces) => {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.receive(piece));
};

test("an event ends with an empty line, and comments and other fields are no events", () => {
  assert.deepEqual(told(": hello\nretry: 1000\n\nid: 3\nevent: x\ndata: one\n\ndata:two\n\n: still here\n\ndata: half"), ["one", "two"]);
});

test("cut anywhere, and with any line ends, it is the same", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = `: hello${end}${end}id: 3,4.5.6${end}data: {"text": "漢🙂"}${end}${end}data: a${end}data: b${end}${end}data: c${end}${end}${end}`;
    for (let at = 0; at <= text.length; at++) assert.deepEqual(told(text.slice(0, at), text.slice(at), "\n"), ['{"text": "漢🙂"}', "a\nb", "c"], `${JSON.stringify(end)} ${at}`);
    assert.deepEqual(told(...text, "\n"), ['{"text": "漢🙂"}', "a\nb", "c"]);
  }
});
