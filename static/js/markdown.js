// A text that grows, as elements. Closed blocks are made once; only the open end is made again, and inside it only what
// has changed. The next rendering comes no sooner than three times the cost of the last, so that a slow machine shows fewer
// frames and stays at ease. A long open code fence just grows as text.

import "morphdom";

import { Blocks } from "./blocks.js";
import { hasCjkMarks } from "./cjk.js";
import { equipCode, labelCode, wrap } from "./code.js";
import { drawFormulas } from "./formulas.js";
import { markdownGrammar } from "./grammar.js";
import { hasMaths } from "./maths.js";
import { sanitize } from "./sanitize.js";

const { morphdom } = globalThis;
const grammar = markdownGrammar();

// What only this renderer knows: task lists and the alignment of columns.
const BEYOND_SERVER = /^\s*([-*+]|\d+[.)]) \[[ xX]\]|:-|-:/m;

/** Makes what the server has rendered complete: heads for code, formulas, colours. */
export function equipRendered(element, text) {
  if (BEYOND_SERVER.test(text) || hasMaths(text) || hasCjkMarks(text)) element.replaceChildren(...elementsOf(grammar.render(text)));
  for (const child of [...element.children]) equip(child);
}

function equip(element) {
  equipCode(element);
  drawFormulas(element);
}

const elementsOf = (html) => [...sanitize(html).children];

export class GrowingMarkdown {
  #blocks = new Blocks(grammar);
  #closed = 0; // how many children are done with
  #text = "";
  #whole = false;
  #scheduled = false;
  #rested = 0; // when the next rendering may come

  /** `onRender` is called after each change, to keep the scroll where it belongs. */
  constructor(element, onRender) {
    this.element = element;
    this.onRender = onRender;
    element.classList.add("growing");
    for (const child of element.children) child.classList.add("open");
  }

  update(text, whole) {
    if (text === this.#text && whole === this.#whole) return;
    this.#text = text;
    this.#whole = whole;
    if (this.#scheduled) return;
    this.#scheduled = true;
    const rest = this.#rested - performance.now();
    if (rest > 4) setTimeout(() => this.#atNextFrame(), rest);
    else this.#atNextFrame();
  }

  #atNextFrame() {
    if (document.hidden) setTimeout(() => this.#render(), 200); // no frames come there
    else requestAnimationFrame(() => this.#render());
  }

  #render() {
    const began = performance.now();
    this.#scheduled = false;
    const fence = this.#whole ? null : this.#blocks.openFence(this.#text);
    if (fence) this.#showFence(fence);
    else this.#showBlocks();
    if (this.#whole) this.#finish();
    this.onRender();
    const now = performance.now();
    this.#rested = now + 3 * (now - began);
  }

  #showBlocks() {
    const { closed, open } = this.#blocks.next(this.#text, this.#whole);
    const fresh = elementsOf(closed);
    const count = fresh.length;
    fresh.push(...elementsOf(open));
    const shown = this.#settle(fresh);
    for (const element of shown.slice(0, count)) {
      element.classList.remove("open");
      equip(element);
    }
    this.#closed += count;
    for (const element of shown.slice(count)) {
      drawFormulas(element);
      if (element.matches("pre")) wrap(element).classList.add("open");
    }
  }

  /** Puts fresh elements in the place of the open ones, keeping what is already there. */
  #settle(fresh) {
    const old = [...this.element.children].slice(this.#closed);
    const shown = fresh.map((element, index) => {
      const place = old[index];
      const code = place?.matches(".code") && element.matches("pre") && place.querySelector("pre");
      if (code) {
        morph(code.firstElementChild, element.firstElementChild);
        labelCode(place);
        return place;
      }
      element.classList.add("open");
      if (!place) this.element.append(element);
      else if (place.tagName === element.tagName && !place.matches(".code")) morph(place, element);
      else place.replaceWith(element);
      return place?.isConnected ? place : element;
    });
    for (const extra of old.slice(fresh.length)) extra.remove();
    return shown;
  }

  #showFence({ language, code }) {
    const box = this.element.children[this.#closed];
    const shown = box?.matches(".code") && box.querySelector("code").firstChild;
    if (shown && code.startsWith(shown.data)) {
      shown.appendData(code.slice(shown.data.length));
    } else {
      const pre = document.createElement("pre");
      const element = document.createElement("code");
      if (language) element.className = `language-${language}`;
      element.append(document.createTextNode(code));
      pre.append(element);
      for (const old of [...this.element.children].slice(this.#closed)) old.remove();
      this.element.append(pre);
      wrap(pre).classList.add("open");
    }
  }

  #finish() {
    if (this.#blocks.lateDefinitions) {
      this.element.replaceChildren(...elementsOf(grammar.render(this.#text)));
      for (const child of [...this.element.children]) equip(child);
    }
    this.element.classList.remove("growing");
  }
}

function morph(old, fresh) {
  morphdom(old, fresh, {
    onBeforeElUpdated(from, to) {
      const drawn = from.classList.contains("drawn") && from.dataset.tex === to.dataset.tex;
      return !drawn && !from.isEqualNode(to);
    },
  });
}
