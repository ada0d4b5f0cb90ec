// The facts of a reply in words: a small list that opens on demand, and how long it has thought.

import { factsOf, spanOf } from "./facts.js";
import { say, sayCost, sayNumber, sayTimeOfDay } from "./words.js";

/** Fills a list (`dl`) with what is known of a reply. */
export function showFacts(list, message) {
  list.replaceChildren(
    ...factsOf(message).map(([name, kind, value]) => {
      const row = document.createElement("div");
      row.append(Object.assign(document.createElement("dt"), { textContent: say(`fact_${name}`) }));
      row.append(Object.assign(document.createElement("dd"), { textContent: kinds[kind](value) }));
      return row;
    }),
  );
}

/** "Thought for 12 s", or that there is reasoning, where nobody knows how long it took. */
export const sayThought = (milliseconds) => (milliseconds >= 0 ? say("thought", { time: saySpan(spanOf(milliseconds, true)) }) : say("reasoning"));

const kinds = {
  text: (text) => text,
  number: sayNumber,
  about: (number) => say("about", { number: sayNumber(number) }),
  cost: sayCost,
  time: (time) => sayTimeOfDay(new Date(time)),
  span: (milliseconds) => saySpan(spanOf(milliseconds)),
  speed: (speed) => say("tokens_a_second", { number: sayNumber(Math.round(speed * 10) / 10) }),
};

function saySpan({ minutes, seconds }) {
  const values = { minutes: sayNumber(minutes), seconds: sayNumber(seconds) };
  return say(minutes ? "span_minutes" : "span_seconds", values);
}
