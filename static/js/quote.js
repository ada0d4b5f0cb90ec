// Words of a message into the next question: a small button at what is selected, or Ctrl+. for who selects by keys.

import { $ } from "./dom.js";

const REST = 150; // milliseconds after the selection has last changed

export class Quote {
  #timer = null;

  /** `quote(text)` is called with what was selected in `messages`. */
  constructor(messages, button, quote) {
    Object.assign(this, { messages, button, onQuote: quote });
    document.addEventListener("selectionchange", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#show(), REST);
    });
    addEventListener("scroll", () => (button.hidden = true), { passive: true });
    button.addEventListener("pointerdown", (event) => event.preventDefault()); // the selection stays
    button.addEventListener("click", () => this.take());
  }

  /** Quotes what is selected. False where that is nothing of a message. */
  take() {
    const { text } = this.#selected();
    if (!text) return false;
    this.button.hidden = true;
    getSelection().removeAllRanges();
    this.onQuote(text);
    return true;
  }

  #selected() {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return {};
    const range = selection.getRangeAt(0);
    const around = range.commonAncestorContainer;
    const element = around.nodeType === Node.ELEMENT_NODE ? around : around.parentElement;
    const isWithin = this.messages.contains(element) && element.closest(".message-text, .messages") && !element.closest("textarea");
    return isWithin ? { text: selection.toString().trim(), range } : {};
  }

  #show() {
    const { text, range } = this.#selected();
    this.button.hidden = !text || $("dialog[open]");
    if (this.button.hidden) return;
    const { left, width, bottom } = range.getBoundingClientRect();
    const place = Math.min(Math.max(left + width / 2 - this.button.offsetWidth / 2, 8), innerWidth - this.button.offsetWidth - 8);
    this.button.style.insetInlineStart = "auto";
    this.button.style.left = `${place}px`;
    this.button.style.top = `${Math.min(bottom + 8, innerHeight - this.button.offsetHeight - 8)}px`;
  }
}

/** A text as Markdown quotes it. Pure. */
export const quoted = (text) => text.split("\n").map((line) => (line.trim() ? `> ${line}` : ">")).join("\n");
