// When to come back after a lost connection, and what a close code means. Pure: time and chance are arguments.

const DELAYS = [0.2, 0.5, 1, 2, 4, 8, 15];

/** Milliseconds until the next try; `random` is in [0, 1). */
export function delayOf(attempt, random) {
  return 1000 * DELAYS[Math.min(attempt, DELAYS.length - 1)] * (0.5 + random);
}

const FINAL = new Map([
  [4400, { words: "closed_protocol", action: "reload" }],
  [4401, { words: "closed_signed_out", action: "sign_in" }],
  [4404, { words: "closed_gone", action: "leave" }],
]);

/**
 * What a tab does when its socket has closed: `again` with at least `wait` milliseconds of delay, or for good with the
 * sentence and the action the page then offers.
 */
export function afterClose(code, reason = "") {
  if (FINAL.has(code)) return { again: false, wait: 0, ...FINAL.get(code) };
  if (code === 4413) return { again: true, wait: 0, words: "closed_too_large" };
  if (code === 4429) return { again: true, wait: 1000 * secondsIn(reason), words: "closed_too_many" };
  if (code === 1012) return { again: true, wait: 0, words: "closed_restart" };
  if (code === 1013 && reason) return { again: true, wait: 1000 * secondsIn(reason), words: "closed_lost" };
  return { again: true, wait: 0, words: "closed_lost" };
}

const CODES = new Map([[401, 4401], [404, 4404], [429, 4429], [503, 1013]]);

/** The close code that a refused event stream stands for. Only our own server's word counts, not that of a proxy. */
export function closeOf(status, { code, retry_after } = {}) {
  if (!code) return { code: 1006, reason: "" };
  return { code: code === "not_spoken" ? 4400 : (CODES.get(status) ?? 1006), reason: String(retry_after ?? "") };
}

const RELOAD_MILLISECONDS = 600_000;

/** Whether a page that is too old may reload by itself: once, for if that did not help another time will not. */
export const mayReload = (last, now) => !(now - last < RELOAD_MILLISECONDS);

/** The first number of a reason such as "come back after 12 s". */
function secondsIn(reason) {
  return Math.min(600, Number(/\d+(\.\d+)?/.exec(reason)?.[0] ?? 5));
}
