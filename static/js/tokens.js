// How many tokens a draft is, about, and whether that is much. Pure.

const BYTES_PER_TOKEN = 4; // as the server estimates, in streaming/prompt.py: within 12 % for English, code and Chinese
const SHOWN_FROM = 500; // tokens: nobody counts a question of a few lines
const NEAR = 0.8; // of what a model is shown of a conversation

const encoder = new TextEncoder();

export const estimatedTokens = (text) => Math.ceil(encoder.encode(text).length / BYTES_PER_TOKEN);

/** `{tokens, standing}` of a draft: "" is not worth a word, then "long", "near" and "over" what a model is shown, `budget`. */
export function sizeOf(text, budget) {
  if (text.length * 3 < SHOWN_FROM * BYTES_PER_TOKEN && text.length * 3 < budget * NEAR * BYTES_PER_TOKEN) return { tokens: 0, standing: "" };
  const tokens = estimatedTokens(text);
  if (tokens > budget) return { tokens, standing: "over" };
  if (tokens >= budget * NEAR) return { tokens, standing: "near" };
  return { tokens, standing: tokens >= SHOWN_FROM ? "long" : "" };
}

/** The number as it is shown: two digits of it are as good as the estimate. */
export function rounded(tokens) {
  const step = 10 ** Math.max(Math.floor(Math.log10(tokens)) - 1, 0);
  return Math.round(tokens / step) * step;
}
