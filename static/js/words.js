// Sentences in the reader's language, handed over by the template; see conversations/words.py.

import { $, readJson, setAttribute } from "./dom.js";
import { isMac } from "./keys.js";
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

/** A short word at the edge of the page, which goes away by itself; with a `step` ({words, act}) later, with a button, and not
 * while somebody is about to press it. Screen readers are told of that politely: nothing is wrong. */
export function toast(sentence, step = null) {
  const element = $("#toast");
  setAttribute(element, "role", step ? "status" : "alert");
  element.replaceChildren(sentence, ...(step ? [stepButton(step)] : []));
  element.hidden = false;
  clearTimeout(hiding);
  const hide = () => {
    if (step && element.matches(":hover, :focus-within")) hiding = setTimeout(hide, 1000);
    else element.hidden = true;
  };
  hiding = setTimeout(hide, (step ? 8000 : 2500) + 60 * sentence.length);
  if (step) speak(say("undo_by_key", { keys: isMac ? "⌘ Z" : "Ctrl+Z" }));
}

function stepButton({ words: label, act }) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "toast-step", textContent: label });
  button.addEventListener("click", () => {
    $("#toast").hidden = true;
    act();
  });
  return button;
}

/** Does what the short word offers, if it offers something. */
export function takeStep() {
  const button = $("#toast:not([hidden]) .toast-step");
  button?.click();
  return button !== null;
}

/** Said to screen readers only. */
export function speak(sentence) {
  $("#spoken").textContent = sentence;
}

const language = document.documentElement.lang;
const time = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const month = new Intl.DateTimeFormat(language, { year: "numeric", month: "long" });
const number = new Intl.NumberFormat(language);
const cost = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });

export const sayNumber = (value) => number.format(value);
export const sayCost = (value) => cost.format(value);
export const sayMonth = (date) => month.format(date);
export const sayDay = (date) => day.format(date);
export const sayTimeOfDay = (date) => dayAndTime.format(date);

export function sayTime(date) {
  const today = new Date().toDateString() === date.toDateString();
  return today ? time.format(date) : dayAndTime.format(date);
}
