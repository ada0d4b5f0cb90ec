// Where one writes. Enter sends (or Ctrl+Enter, as one chooses), Shift+Enter breaks the line, and while an input method
// composes Enter is its own.

import { $, setText } from "./dom.js";
import { growWithText } from "./editor.js";
import { codePoints } from "./growing.js";
import { sends } from "./keys.js";
import { quoted } from "./quote.js";
import { keepDraft, keptDraft, withDraft } from "./store.js";
import { rounded, sizeOf } from "./tokens.js";
import { say, sayNumber, speak } from "./words.js";

const NEAR_LIMIT = 1000; // characters left at which the count is shown
const REST_TO_SPEAK = 1500; // milliseconds after the last key: who listens is not talked into

export class Composer {
  #state = { running: null, canWrite: true, open: true };

  /** `send(text, model)` and `stop()` are called; `user` and `conversation` name the draft. `limits` are those of the page. Without
   *  `keeps` no draft is kept by the browser. */
  constructor(form, { limits, user, conversation, keeps = true, send, stop }) {
    Object.assign(this, { form, keeps, limit: limits.messageCharacters, budget: limits.contextTokens, user, conversation, onSend: send, onStop: stop });
    this.field = $("textarea", form);
    this.words = $(".composer-words", form);
    this.size = $(".composer-size", form);
    this.sendButton = $(".send", form);
    this.stopButton = $(".stop", form);
    this.field.value = withDraft(this.field.value, keptDraft(user, conversation));
    this.#keep(this.field.value);
    growWithText(this.field);
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#pressed(event));
    form.addEventListener("submit", (event) => this.#submitted(event));
    $(".composer-box", form).addEventListener("click", (event) => event.target.closest("button, select, label, textarea") ?? this.field.focus());
    this.stopButton.addEventListener("click", () => this.#stop());
    this.update(this.#state);
  }

  get model() {
    return $('[name="model"]', this.form)?.value;
  }

  /** Whether a reload would bring back what is written here. */
  get isKept() {
    return this.field.value === keptDraft(this.user, this.conversation);
  }

  update(state) {
    const had = this.#state.running;
    this.#state = state;
    const over = codePoints(this.field.value) - this.limit;
    const empty = !this.field.value.trim();
    this.stopButton.hidden = !state.running;
    this.sendButton.hidden = !!state.running;
    this.sendButton.disabled = empty || over > 0 || !state.canWrite;
    this.field.disabled = !state.canWrite;
    this.words.classList.toggle("over", over > 0);
    setText(this.words, this.#wordsFor(over, empty));
    this.#showSize(over);
    if (had && !state.running && document.activeElement === document.body) this.field.focus({ preventScroll: true });
  }

  setText(text) {
    this.field.value = text;
    this.field.dispatchEvent(new Event("input"));
    this.field.focus();
  }

  /** Puts words of somebody else behind what is written, with room for an answer to them. */
  quote(text) {
    const before = this.field.value.trimEnd();
    this.setText(`${before}${before && "\n\n"}${quoted(text)}\n\n`);
    this.field.setSelectionRange(this.field.value.length, this.field.value.length);
    this.field.scrollTop = this.field.scrollHeight;
  }

  #wordsFor(over, empty) {
    if (!this.#state.canWrite) return say("read_only");
    if (over > 0) return say("too_long", { over: sayNumber(over) });
    if (over > -NEAR_LIMIT) return say("left", { left: sayNumber(-over) });
    return this.#tried && !empty && this.#state.running ? say("still_writing") : "";
  }

  #standing = "";
  #speaking = null;

  /** How many tokens it is, quietly; said aloud only when it comes near what a model is shown, and once one rests. */
  #showSize(over) {
    const { tokens, standing } = over > 0 || !this.#state.canWrite ? { standing: "" } : sizeOf(this.field.value, this.budget);
    const words = standing && say(`size_${standing}`, { tokens: sayNumber(rounded(tokens)), budget: sayNumber(this.budget) });
    setText(this.size, words);
    if (standing === this.#standing) return;
    this.#standing = standing;
    clearTimeout(this.#speaking);
    if (["near", "over"].includes(standing)) this.#speaking = setTimeout(() => speak(this.size.textContent), REST_TO_SPEAK);
  }

  #tried = false; // somebody pressed Enter while a reply was running

  #typed() {
    this.#tried = false;
    this.#keep(this.field.value);
    this.update(this.#state);
    this.#offerPrompts();
  }

  #keep(text) {
    keepDraft(this.user, this.conversation, this.keeps ? text : "");
  }

  #prompts = null;

  /** With a slash at the beginning a list of prompts opens; who never types one never loads it. */
  async #offerPrompts() {
    if (!this.#prompts && this.field.value.startsWith("/")) {
      const { Prompts } = await import("./prompts.js");
      const insert = (text) => this.setText(text);
      this.#prompts ??= new Prompts(this.field, $("#prompts", this.form), { user: this.user, insert });
    }
    this.#prompts?.update();
  }

  #pressed(event) {
    if (this.#prompts?.pressed(event)) return;
    if (!sends(event)) return;
    event.preventDefault();
    this.form.requestSubmit(this.sendButton.hidden ? null : this.sendButton);
  }

  #submitted(event) {
    this.update(this.#state);
    if (this.#state.running || this.sendButton.disabled) {
      event.preventDefault();
      this.#tried = true;
      this.update(this.#state);
    } else if (this.onSend) {
      event.preventDefault();
      this.onSend(this.field.value, this.model);
      this.setText("");
    } else {
      this.#keep(""); // the form itself carries it to the new conversation
      setTimeout(() => (this.sendButton.disabled = true));
    }
  }

  #stop() {
    this.onStop(this.#state.running);
    this.field.focus({ preventScroll: true });
  }
}
