// When a text that grows is shown: at the next frame, but no sooner than three times the cost of the last showing, so that a
// slow machine shows fewer frames and stays at ease; and never so much at once that it would be felt. A page that nobody sees
// has no frames.

import { BlocksView, elementsOf, equip, grammar } from "./blocks-view.js";
import { hasCjkMarks } from "./cjk.js";
import { hasMaths } from "./maths.js";

const STEP = 4_000; // characters that are taken in at once: after a pause there may be a book of them

// What only this renderer knows: task lists, footnotes and the alignment of columns.
const BEYOND_SERVER = /^\s*([-*+]|\d+[.)]) \[[ xX]\]|:-|-:|\[\^/m;

/** Makes what the server has rendered complete: heads for code, formulas, colours. */
export function equipRendered(element, text) {
  if (BEYOND_SERVER.test(text) || hasMaths(text) || hasCjkMarks(text)) element.replaceChildren(...elementsOf(grammar.render(text)));
  for (const child of [...element.children]) equip(child);
}

export class GrowingMarkdown {
  #view;
  #text = "";
  #whole = false;
  #shown = 0; // characters
  #scheduled = false;
  #rested = 0; // when the next showing may come

  /** `onRender` is called after each change, to keep the scroll where it belongs. */
  constructor(element, onRender) {
    this.element = element;
    this.onRender = onRender;
    this.#view = new BlocksView(element);
    element.classList.add("growing");
  }

  update(text, whole) {
    if (text === this.#text && whole === this.#whole) return;
    this.#text = text;
    this.#whole = whole;
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const rest = this.#rested - performance.now();
    if (rest > 4) setTimeout(() => requestAnimationFrame(() => this.#show()), rest);
    else requestAnimationFrame(() => this.#show());
  }

  #show() {
    const began = performance.now();
    this.#scheduled = false;
    this.#shown = stepFrom(this.#shown, this.#text);
    const all = this.#shown === this.#text.length;
    const whole = this.#whole && all;
    this.#view.show(this.#text.slice(0, this.#shown), whole, all);
    if (whole) this.element.classList.remove("growing");
    this.onRender();
    const now = performance.now();
    this.#rested = now + 3 * (now - began);
    if (!all) this.#schedule();
  }
}

/** How far the text is shown next; a pair of surrogates stays together. */
function stepFrom(shown, text) {
  const end = Math.min(shown + STEP, text.length);
  return end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800 ? end + 1 : end;
}
