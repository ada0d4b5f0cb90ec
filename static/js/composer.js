// Where one writes. Enter sends, Shift+Enter breaks the line, and while an input method composes Enter is its own.

import { $, isComposing, setText } from "./dom.js";
import { growWithText } from "./editor.js";
import { codePoints } from "./growing.js";
import { keepDraft, keptDraft, withDraft } from "./store.js";
import { say, sayNumber } from "./words.js";

const NEAR_LIMIT = 1000; // characters left at which the count is shown

export class Composer {
  #state = { running: null, canWrite: true, open: true };

  /** `send(text, model)` and `stop()` are called; `user` and `conversation` name the draft. */
  constructor(form, { limit, user, conversation, send, stop }) {
    Object.assign(this, { form, limit, user, conversation, onSend: send, onStop: stop });
    this.field = $("textarea", form);
    this.words = $(".composer-words", form);
    this.sendButton = $(".send", form);
    this.stopButton = $(".stop", form);
    this.field.value = withDraft(this.field.value, keptDraft(user, conversation));
    keepDraft(user, conversation, this.field.value);
    growWithText(this.field);
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#pressed(event));
    form.addEventListener("submit", (event) => this.#submitted(event));
    $(".composer-box", form).addEventListener("click", (event) => event.target.closest("button, select, label, textarea") ?? this.field.focus());
    this.stopButton.addEventListener("click", () => this.#stop());
    this.update(this.#state);
  }

  get model() {
    return $("select", this.form)?.value;
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
    if (had && !state.running && document.activeElement === document.body) this.field.focus({ preventScroll: true });
  }

  setText(text) {
    this.field.value = text;
    this.field.dispatchEvent(new Event("input"));
    this.field.focus();
  }

  #wordsFor(over, empty) {
    if (!this.#state.canWrite) return say("read_only");
    if (over > 0) return say("too_long", { over: sayNumber(over) });
    if (over > -NEAR_LIMIT) return say("left", { left: sayNumber(-over) });
    return this.#tried && !empty && this.#state.running ? say("still_writing") : "";
  }

  #tried = false; // somebody pressed Enter while a reply was running

  #typed() {
    this.#tried = false;
    keepDraft(this.user, this.conversation, this.field.value);
    this.update(this.#state);
  }

  #pressed(event) {
    if (isComposing(event) || event.key !== "Enter" || event.shiftKey || event.altKey) return;
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
      keepDraft(this.user, this.conversation, ""); // the form itself carries it to the new conversation
      setTimeout(() => (this.sendButton.disabled = true));
    }
  }

  #stop() {
    this.onStop(this.#state.running);
    this.field.focus({ preventScroll: true });
  }
}
