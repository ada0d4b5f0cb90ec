// What blocks.js makes of a growing text, as elements. Closed blocks are made once; only the open end is made again, and
// inside it only what has changed. Of a long open block the children that are final stay as they are, and others follow them.

import "morphdom";

import { Blocks } from "./blocks.js";
import { equipCode, labelCode, wrap } from "./code.js";
import { drawFormulas } from "./formulas.js";
import { markdownGrammar } from "./grammar.js";
import { sanitize } from "./sanitize.js";

const { morphdom } = globalThis;

export const grammar = markdownGrammar();

export const elementsOf = (html) => [...sanitize(html).children];

export function equip(element) {
  equipCode(element);
  drawFormulas(element);
}

export class BlocksView {
  #blocks;
  #closed = 0; // how many children are done with
  #grown = 0; // how many children of the open one are
  #coded = 0; // how many characters of an open block of code are shown

  constructor(element, blocks = new Blocks(grammar)) {
    this.element = element;
    this.#blocks = blocks;
    for (const child of element.children) child.classList.add("open");
  }

  /** Shows the text; `whole`: nothing will come any more; `all`: what stands behind it is old and goes. */
  show(text, whole, all = true) {
    const fence = whole ? null : this.#blocks.openFence(text);
    if (fence) this.#showFence(fence);
    else this.#showBlocks(this.#blocks.next(text, whole), all);
    if (whole && this.#blocks.lateDefinitions) this.#showAnew(text);
  }

  #showBlocks({ closed, open, grown, again }, all) {
    if (again) this.#grown = 0;
    const fresh = elementsOf(closed);
    const count = fresh.length;
    fresh.push(...elementsOf(open));
    const isGoingOn = this.#grown > 0 || grown !== "";
    const first = isGoingOn ? [this.#goOn(elementsOf(grown)[0], fresh.shift())] : [];
    const shown = [...first, ...this.#settle(fresh, this.#closed + first.length, all)];
    for (const element of shown.slice(0, count)) {
      element.classList.remove("open");
      equip(element);
    }
    if (count > 0) this.#grown = 0;
    this.#closed += count;
    for (const element of shown.slice(count)) {
      drawFormulas(element);
      if (element.matches("pre")) wrap(element).classList.add("open");
    }
  }

  /** Puts fresh elements in the place of the open ones, keeping what is already there. */
  #settle(fresh, from, all) {
    const old = [...this.element.children].slice(from);
    const shown = fresh.map((element, index) => {
      const place = old[index];
      const code = place?.matches(".code") && element.matches("pre") && place.querySelector("pre");
      if (code) {
        settleCode(code.firstElementChild, element.firstElementChild);
        labelCode(place);
        return place;
      }
      element.classList.add("open");
      if (!place) this.element.append(element);
      else if (place.tagName === element.tagName && !place.matches(".code")) morph(place, element);
      else place.replaceWith(element);
      return place?.parentNode === this.element ? place : element;
    });
    if (all) for (const extra of old.slice(fresh.length)) extra.remove();
    return shown;
  }

  /** The open block behind what is final of it: first what has become so now, then the rest. */
  #goOn(grown, rest) {
    const place = this.#placeOf(grown ?? rest);
    place.classList.add("long");
    const parent = insideOf(place);
    const final = grown ? nodesOf(grown, this.#grown > 0) : [];
    settleNodes(parent, this.#grown, [...final, ...nodesOf(rest, true)]);
    const ready = [...parent.childNodes].slice(this.#grown, this.#grown + final.length);
    for (const node of ready) if (node.nodeType === Node.ELEMENT_NODE) equip(node);
    this.#grown += final.length;
    return place;
  }

  #placeOf(block) {
    const place = this.element.children[this.#closed];
    if (place?.tagName === block.tagName && place.matches(".table") === block.matches(".table")) return place;
    const made = block.cloneNode(true);
    made.classList.add("open");
    if (place) place.replaceWith(made);
    else this.element.append(made);
    return made;
  }

  /** Lines of code stand in boxes of their own, so that the browser lays out only those at the end. */
  #showFence({ language, code }) {
    const box = this.element.children[this.#closed];
    const shown = box?.matches(".code") ? box.querySelector("code") : null;
    const last = shown?.lastElementChild;
    if (last?.matches(".lines") && code.length >= this.#coded) {
      appendLines(last, code.slice(this.#coded));
    } else {
      const pre = document.createElement("pre");
      const element = document.createElement("code");
      if (language) element.className = `language-${language}`;
      element.append(linesOf(code));
      pre.append(element);
      for (const old of [...this.element.children].slice(this.#closed)) old.remove();
      this.element.append(pre);
      wrap(pre).classList.add("open");
    }
    this.#coded = code.length;
  }

  #showAnew(text) {
    this.element.replaceChildren(...elementsOf(grammar.render(text)));
    for (const child of [...this.element.children]) equip(child);
  }
}

/** Where a block that is taken apart grows: a table in its body. */
const insideOf = (element) => (element.matches(".table") ? element.querySelector("tbody") : element);

/** The children of a piece. Lists and tables begin with a line break, which is wanted once. */
function nodesOf(element, goesOn) {
  const nodes = [...(insideOf(element)?.childNodes ?? [])]; // a table may have no row yet
  return goesOn && !element.matches("p") && nodes[0]?.nodeType === Node.TEXT_NODE ? nodes.slice(1) : nodes;
}

const BOX = 8_000; // characters of code that are laid out together

function linesOf(code) {
  const lines = document.createElement("span");
  lines.className = "lines";
  lines.append(document.createTextNode(code));
  return lines;
}

function appendLines(last, code) {
  const end = last.firstChild.length < BOX ? -1 : code.indexOf("\n");
  if (end === -1) {
    last.firstChild.appendData(code);
  } else {
    last.firstChild.appendData(code.slice(0, end + 1));
    last.after(linesOf(code.slice(end + 1)));
  }
}

/** Code that has ended. A long one keeps its boxes: to lay it out anew would be felt. */
function settleCode(old, fresh) {
  if (old.childElementCount > 1 && old.className === fresh.className && old.textContent === fresh.textContent) return;
  morph(old, fresh);
}

function settleNodes(parent, from, fresh) {
  const old = [...parent.childNodes].slice(from);
  fresh.forEach((node, index) => {
    const place = old[index];
    if (!place) parent.append(node);
    else if (place.nodeName !== node.nodeName) place.replaceWith(node);
    else if (place.nodeType === Node.ELEMENT_NODE) morph(place, node);
    else if (place.data !== node.data) place.data = node.data;
  });
  for (const extra of old.slice(fresh.length)) extra.remove();
}

function morph(old, fresh) {
  morphdom(old, fresh, {
    onBeforeElUpdated(from, to) {
      const drawn = from.classList.contains("drawn") && from.dataset.tex === to.dataset.tex;
      return !drawn && !from.isEqualNode(to);
    },
  });
}
