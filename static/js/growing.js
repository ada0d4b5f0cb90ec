// A reply is a text that only grows. Positions count Unicode code points, not the UTF-16 units of JavaScript's `length`.

/** How many code points: a surrogate pair is one. */
export function codePoints(text = "") {
  let count = text.length;
  for (let i = 0; i + 1 < text.length; i++) {
    const pair = (text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (pair) {
      count--;
      i++;
    }
  }
  return count;
}

export function growingFrom({ text = "", reasoning = "", status = "queued", waiting = null }) {
  return { status, text, reasoning: reasoning ?? "", text_end: codePoints(text), reasoning_end: codePoints(reasoning ?? ""), waiting };
}

/** The grown text; the same object when the delta is old; null when something between is missing. */
export function appendDelta(growing, { part, start, end, text }) {
  const have = growing[`${part}_end`];
  if (have === undefined || end <= have) return growing;
  if (start !== have || end - start !== codePoints(text)) return null;
  return { ...growing, status: "streaming", waiting: null, [part]: growing[part] + text, [`${part}_end`]: end };
}

/** A snapshot never takes back what has been shown: each part only grows. */
export function takeSnapshot(growing, snapshot) {
  const next = { ...growing, status: snapshot.status ?? growing.status, waiting: snapshot.waiting ?? null };
  for (const part of ["text", "reasoning"]) {
    const text = snapshot[part] ?? "";
    const end = snapshot[`${part}_end`] ?? codePoints(text);
    if (end >= growing[`${part}_end`]) Object.assign(next, { [part]: text, [`${part}_end`]: end });
  }
  return next;
}
