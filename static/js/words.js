// Sentences in the reader's language, handed over by the template; see conversations/words.py.

import { $, readJson, setText } from "./dom.js";
import { withoutTime } from "./times.js";

const words = readJson("words");

export function say(key, values = {}) {
  return words[key].replace(/%\((\w+)\)s/g, (_, name) => values[name]);
}

/** A sentence of the server in the reader's language, where it is known, with the time that it may name as the reader's clock shows it. */
export function explained(sentence) {
  const { known, when } = withoutTime(sentence);
  const own = words.sentences?.[known] ?? known;
  return when ? own.replace("%(when)s", sayTime(when)) : own;
}

let hiding;

/** A short word at the edge of the page, which goes away by itself. */
export function toast(sentence) {
  const element = $("#toast");
  setText(element, sentence);
  element.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (element.hidden = true), 2500 + 60 * sentence.length);
}

/** Said to screen readers only. */
export function speak(sentence) {
  $("#spoken").textContent = sentence;
}

const language = document.documentElement.lang;
const time = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const month = new Intl.DateTimeFormat(language, { year: "numeric", month: "long" });
const number = new Intl.NumberFormat(language);

export const sayNumber = (value) => number.format(value);
export const sayMonth = (date) => month.format(date);

export function sayTime(date) {
  const today = new Date().toDateString() === date.toDateString();
  return today ? time.format(date) : dayAndTime.format(date);
}
