// What is known of a reply besides its text, for who wants to know. Pure: names and numbers, no words.

/** `[[name, kind, value], …]`, in the order in which it is told; only what is known. */
export function factsOf({ model, created_at, usage }) {
  const { prompt_tokens, completion_tokens, estimated, cost, first_token_ms, thought_ms, duration_ms, attempts } = usage ?? {};
  const tokens = estimated ? "about" : "number";
  const rows = [
    ["time", "time", created_at || null],
    ["model", "text", model || null],
    ["prompt", tokens, prompt_tokens],
    ["completion", tokens, completion_tokens],
    ["cost", "cost", cost],
    ["first_token", "span", first_token_ms],
    ["thought", "span", thought_ms],
    ["speed", "speed", speedOf(completion_tokens, duration_ms - first_token_ms)],
    ["duration", "span", duration_ms],
    ["attempts", "number", attempts > 1 ? attempts : null],
  ];
  return rows.filter(([, , value]) => value !== null && value !== undefined);
}

/** Tokens a second, of what was spread over enough time to tell. */
function speedOf(tokens, milliseconds) {
  return tokens > 1 && milliseconds >= 100 ? tokens / (milliseconds / 1000) : null;
}

/** A span of time as a person says it: `{minutes, seconds}`; what is under ten seconds with one decimal, unless `whole` seconds are wanted. */
export function spanOf(milliseconds, whole = false) {
  const seconds = milliseconds / 1000;
  if (whole) return inMinutes(Math.max(Math.round(seconds), 1));
  return seconds < 9.95 ? { minutes: 0, seconds: Math.round(seconds * 10) / 10 } : inMinutes(Math.round(seconds));
}

const inMinutes = (seconds) => ({ minutes: Math.floor(seconds / 60), seconds: seconds % 60 });
