// How the model is asked in this conversation: a dialog with the form that is also a page of its own.

import { $, $$, setText } from "./dom.js";
import { explained, say, toast } from "./words.js";

export class Settings {
  #base = null; // the conversation as it was when the dialog was opened

  /** `ask(command)` carries a command out; its promise is the answer. */
  constructor(dialog, { ask }) {
    Object.assign(this, { dialog, ask });
    this.form = $("form", dialog);
    this.says = $(".settings-says", dialog);
    this.form.addEventListener("submit", (event) => this.#save(event));
  }

  open(conversation) {
    if (this.dialog.open) return;
    this.#base = conversation;
    const isReader = conversation.role === "reader";
    const kept = { system_prompt: conversation.system_prompt, ...conversation.parameters };
    for (const field of this.#fields) field.value = kept[field.name] ?? "";
    $("fieldset", this.form).disabled = isReader;
    $(".primary", this.form).hidden = isReader;
    this.#complain(isReader ? say("read_only") : "");
    this.dialog.showModal();
  }

  get #fields() {
    return $$("textarea, fieldset input, select", this.form);
  }

  #complain(words) {
    setText(this.says, words);
    this.says.hidden = !words;
  }

  async #save(event) {
    event.preventDefault();
    const changes = changesIn(Object.fromEntries(this.#fields.map(({ name, value }) => [name, value])), this.#base);
    try {
      if (changes) await this.ask({ type: "change_settings", ...changes });
    } catch ({ code, message }) {
      return this.#complain(code === "offline" ? say("offline") : explained(message));
    }
    this.dialog.close();
    if (changes) toast(say("saved"));
  }
}

/** What a form says otherwise than the conversation, as the command has it; null where that is nothing. Pure. */
export function changesIn({ system_prompt, ...fields }, { system_prompt: before, parameters: kept }) {
  const changes = {};
  if (system_prompt.trim() !== before.trim()) changes.system_prompt = system_prompt;
  const wanted = Object.entries(fields).map(([name, text]) => [name, valueOf(name, text.trim())]);
  const parameters = Object.fromEntries(wanted.filter(([name, value]) => value !== (kept[name] ?? null)));
  if (Object.keys(parameters).length) changes.parameters = parameters;
  return Object.keys(changes).length ? changes : null;
}

/** A word or, for all others, a number; what is empty is the server's own. */
function valueOf(name, text) {
  if (!text) return null;
  return name === "reasoning_effort" ? text : Number(text);
}
