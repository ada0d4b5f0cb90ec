// The list of prompts that opens over the composer with a slash, and the places to fill in of the one that was inserted.

import { Choices, jsonAt, line, option, stepOf } from "./choices.js";
import { $, isComposing, setAttribute } from "./dom.js";
import { nextPlace, placeBefore, wantedBy } from "./places.js";
import { say, speak, toast } from "./words.js";

const REST = 80; // milliseconds after the last key
const REST_TO_SPEAK = 700;

export class Prompts {
  #asked = null; // the question that is on its way
  #timers = {};
  #dismissed = false; // with Escape: what was typed is meant as it stands
  #shownFor = ""; // what was looked for by those that are shown
  #filling = false; // a prompt was inserted, and may have places

  /** `insert(text)` puts a text into the field in the place of all that is there. */
  constructor(field, box, { user, insert }) {
    Object.assign(this, { field, box, user, insert });
    this.list = $("[role=listbox]", box);
    this.none = $(".prompts-none", box);
    this.choices = new Choices(field, this.list, "prompt");
    this.list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    this.list.addEventListener("click", () => this.#take());
    field.addEventListener("blur", ({ relatedTarget }) => box.contains(relatedTarget) || this.#close());
  }

  /** Something was typed. */
  update() {
    const wanted = wantedBy(this.field.value);
    if (wanted === null) this.#dismissed = false;
    clearTimeout(this.#timers.ask);
    if (wanted === null || this.#dismissed) this.#close();
    else this.#timers.ask = setTimeout(() => this.#ask(wanted), this.box.hidden ? 0 : REST);
  }

  /** A key of the field: whether it was used here. */
  pressed(event) {
    if (isComposing(event) || event.ctrlKey || event.metaKey || event.altKey) return false;
    const used = this.box.hidden ? event.key === "Tab" && this.#fill(event.shiftKey) : this.#choose(event);
    if (used) event.preventDefault();
    return used;
  }

  #choose(event) {
    if (event.key === "Escape") {
      this.#dismissed = true;
      this.#close();
      return true;
    }
    if (event.shiftKey || this.list.hidden) return false;
    const step = stepOf(event);
    if (step) this.choices.step(step);
    else if (!["Enter", "Tab"].includes(event.key)) return false;
    else if (this.#shownFor === wantedBy(this.field.value)) this.#take(); // else what is chosen is about to change
    return true;
  }

  async #ask(wanted) {
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    const found = await jsonAt(`${this.box.dataset.url}?q=${encodeURIComponent(wanted)}`, asked.signal);
    if (asked.signal.aborted || wantedBy(this.field.value) !== wanted || document.activeElement !== this.field) return;
    if (!found?.prompts.length && (wanted || !found)) return this.#close(); // it is something to send
    this.#shownFor = wanted;
    this.#show(found.prompts);
  }

  #show(prompts) {
    this.choices.show(prompts.map((prompt) => this.#option(prompt)));
    this.list.hidden = !prompts.length;
    this.none.hidden = !!prompts.length;
    this.box.hidden = false;
    setAttribute(this.field, "aria-controls", this.list.id);
    clearTimeout(this.#timers.speak);
    this.#timers.speak = setTimeout(() => speak(prompts.length ? say("prompts_found", { count: prompts.length }) : this.none.textContent), REST_TO_SPEAK);
  }

  #option({ id, name, beginning, owner }) {
    const whose = owner.id === this.user ? [] : [line("palette-time", owner.name, "span")];
    const element = option("div", "palette-option", line("palette-title", name), ...whose, line("palette-text", beginning));
    element.dataset.prompt = id;
    return element;
  }

  #close() {
    this.#asked?.abort();
    clearTimeout(this.#timers.speak);
    this.box.hidden = true;
    this.choices.show([]);
    setAttribute(this.field, "aria-controls", null);
  }

  async #take() {
    const { prompt } = this.choices.chosen?.dataset ?? {};
    if (!prompt) return;
    const typed = this.field.value;
    const found = await jsonAt(`${this.box.dataset.url}${prompt}/`);
    if (this.field.value !== typed) return; // somebody went on typing
    this.#close();
    if (!found) return toast(say("prompt_failed"));
    this.#dismissed = this.#filling = true;
    this.insert(found.text);
    this.field.setSelectionRange(0, 0);
    if (!this.#fill(false)) this.field.setSelectionRange(found.text.length, found.text.length);
  }

  /** Selects the next place, or the one before; where there is none, Tab leads out of the field as ever. */
  #fill(back) {
    if (!this.#filling) return false;
    const { value, selectionStart, selectionEnd } = this.field;
    const place = back ? placeBefore(value, selectionStart) : nextPlace(value, selectionEnd);
    if (place) this.field.setSelectionRange(place.start, place.end);
    else if (!nextPlace(value, 0)) this.#filling = false;
    return !!place;
  }
}
