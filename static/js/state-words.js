// What is said, in the place of a reply, about how it stands, and which steps are offered there. Pure but for the language.

import { explained, say } from "./words.js";

/** `{words, alert, dots, steps}` for a message; `now` is in milliseconds. */
export function standingOf(message, now) {
  if (message.refused) return { words: `${say("not_sent")} ${explained(message.refused.detail)}`, alert: true, steps: ["send-again", "take-back"] };
  if (message.pending) return { words: message.offline ? say("sending") : "", steps: [] };
  if (message.role !== "assistant") return { words: "", steps: [] };
  const standing = Object.hasOwn(replies, message.status) ? replies[message.status](message, now) : { words: say("unknown_status"), steps: [] };
  return standing ?? { words: "", steps: [] };
}

const replies = {
  queued: (message, now) => waiting(message, now) ?? { words: "", dots: true, steps: [] },
  streaming: (message, now) => waiting(message, now) ?? { words: "", dots: !message.text && !message.reasoning, steps: [] },
  stopped: () => ({ words: say("stopped"), steps: ["continue", "retry"] }),
  interrupted: ({ error }) => ({ words: [say("interrupted"), error && explained(error.detail)].filter(Boolean).join(" "), alert: true, steps: ["continue", "retry"] }),
  failed: ({ error }) => ({ words: error ? explained(error.detail) : say("failed"), alert: true, steps: ["retry"] }),
  done({ finish_reason, text }) {
    if (finish_reason === "length") return { words: say("cut_by_length"), steps: ["continue"] };
    if (finish_reason === "content_filter") return { words: say("filtered"), alert: true, steps: ["retry"] };
    return text.trim() ? null : { words: say("empty"), steps: ["retry"] };
  },
};

function waiting({ waiting }, now) {
  if (!waiting) return null;
  const seconds = Math.ceil((Date.parse(waiting.until) - now) / 1000);
  const next = seconds > 0 ? say("next_try", { seconds }) : say("next_try_now");
  return { words: `${explained(waiting.reason)} ${next}`, dots: true, ticking: true, steps: [] };
}
