// Ctrl+K: finds conversations by their titles and messages by their words, and goes there. The field keeps the focus; the
// arrows move through what was found, as in any combobox.

import { Choices, jsonAt, line, option, stepOf } from "./choices.js";
import { $, isComposing, setAttribute, setText } from "./dom.js";
import { nameOf } from "./keys.js";
import { partsOf } from "./marks.js";
import { say, sayDay } from "./words.js";

const REST = 120; // milliseconds after the last key

export class Palette {
  #asked = null; // the question that is on its way: {abort}
  #timer = null;

  /** `dialog` has the form; `user` is who looks, `conversation` the address of one, with a place for its id. */
  constructor(dialog, { user, conversation }) {
    Object.assign(this, { dialog, user, conversation });
    this.form = $("form", dialog);
    this.field = $("input", dialog);
    this.choices = new Choices(this.field, $(".palette-list", dialog), "found");
    this.says = $(".palette-says", dialog);
    this.field.addEventListener("input", () => this.#askSoon());
    this.field.addEventListener("keydown", (event) => this.#pressed(event));
    this.form.addEventListener("submit", (event) => this.#go(event));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => this.#forget());
  }

  open() {
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.field.select();
    this.#ask();
  }

  #askSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), REST);
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#asked?.abort();
  }

  async #ask() {
    this.#forget();
    const asked = (this.#asked = new AbortController());
    const query = this.field.value.trim();
    const address = `${this.form.action}?q=${encodeURIComponent(query)}`;
    const found = await jsonAt(address, asked.signal);
    if (asked.signal.aborted) return;
    if (found) this.#show(query, found);
    else setText(this.says, say("search_failed"));
  }

  #show(query, { conversations, messages, more }) {
    const groups = [
      group(say(query ? "found_conversations" : "recent_conversations"), conversations.map((each) => this.#conversation(each))),
      group(say("found_messages"), messages.map((each) => this.#message(each))),
      more && group("", [link(`${this.form.action}?q=${encodeURIComponent(query)}`, line("palette-all", say("found_all")))]),
    ].filter(Boolean);
    this.choices.show(groups);
    setAttribute(this.field, "aria-expanded", String(this.choices.options.length > 0));
    const count = conversations.length + messages.length;
    setText(this.says, count || !query ? "" : say("found_nothing", { query }));
  }

  #conversation({ id, title, updated_at }) {
    return link(this.#address(id), line("palette-title", title || say("new_conversation")), line("palette-time", sayDay(new Date(updated_at)), "span"));
  }

  #message({ id, conversation, title, role, author, created_at, text, marks }) {
    const who = role === "assistant" ? say("reply") : author && author.id !== this.user ? author.name : say("you");
    const said = line("palette-text");
    said.append(line("palette-who", who, "span"), " ", ...marked(text, marks));
    const address = `${this.#address(conversation)}?message=${id}`;
    return link(address, line("palette-title", title || say("new_conversation")), line("palette-time", sayDay(new Date(created_at)), "span"), said);
  }

  #address = (id) => this.conversation.replace("00000000-0000-0000-0000-000000000000", id);

  #pressed(event) {
    // Escape closes; a field for searching would first make itself empty.
    if (["Mod+k", "Escape"].includes(nameOf(event))) {
      event.preventDefault();
      return this.dialog.close();
    }
    const step = stepOf(event);
    if (!step || isComposing(event)) return;
    event.preventDefault();
    this.choices.step(step);
  }

  /** Enter goes to what is chosen; where nothing was found the form leads to the page of the search. */
  #go(event) {
    const { chosen } = this.choices;
    if (!chosen) return;
    event.preventDefault();
    chosen.click();
  }
}

function group(heading, options) {
  if (!options.length) return null;
  const element = document.createElement("div");
  element.setAttribute("role", "group");
  if (heading) {
    element.setAttribute("aria-label", heading);
    const words = line("palette-heading", heading);
    words.setAttribute("aria-hidden", "true");
    element.append(words);
  }
  element.append(...options);
  return element;
}

const link = (href, ...parts) => Object.assign(option("a", "palette-option", ...parts), { href, tabIndex: -1 });

function marked(text, marks) {
  return partsOf(text, marks).map(({ text: part, hit }) => (hit ? Object.assign(document.createElement("mark"), { textContent: part }) : part));
}
