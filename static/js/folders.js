// The folders of a person: the list shows one of them, or all that there is. Their names are the server's; an event that names
// a new one adds it, and one that takes a conversation out of one has them asked for again.

import { $, setAttribute, setText } from "./dom.js";

export class Folders {
  /** `onChoose()` is called when another folder is to be shown. */
  constructor(element, { onChoose }) {
    this.element = element;
    this.chosen = element.dataset.chosen;
    this.names = [...element.children].map((link) => link.dataset.folder).filter(Boolean);
    element.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.chosen = link.dataset.folder;
      history.replaceState(null, "", location.pathname + this.query);
      this.update();
      onChoose();
    });
  }

  /** What addresses have behind them, so that the next page shows the same folder. */
  get query() {
    return this.chosen ? `?folder=${encodeURIComponent(this.chosen)}` : "";
  }

  shows({ folder }) {
    return !this.chosen || folder === this.chosen;
  }

  /** News of a conversation, which is in another folder than before, perhaps: of one that is not in the list it is not known. */
  receive(before, { folder }) {
    if (folder && !this.names.includes(folder)) this.#take([...this.names, folder]);
    const left = before ? before.folder && before.folder !== folder : this.chosen && folder !== this.chosen;
    if (left) this.#refetch();
  }

  async #refetch() {
    const answer = await fetch(this.element.dataset.url).catch(() => null);
    if (answer?.ok) this.#take((await answer.json()).folders);
  }

  #take(names) {
    this.names = names.toSorted((a, b) => a.localeCompare(b));
    this.update();
  }

  update() {
    const shown = this.chosen && !this.names.includes(this.chosen) ? [...this.names, this.chosen] : this.names;
    this.element.hidden = shown.length === 0;
    const [all] = this.element.children;
    const links = shown.map((name) => this.#link(name, all));
    this.element.replaceChildren(all, ...links);
    for (const link of this.element.children) setAttribute(link, "aria-current", link.dataset.folder === this.chosen ? "true" : null);
  }

  #link(name, all) {
    const known = [...this.element.children].find((link) => link.dataset.folder === name);
    if (known) return known;
    const link = all.cloneNode();
    link.dataset.folder = name;
    link.href = `?folder=${encodeURIComponent(name)}`;
    link.dir = "auto";
    setText(link, name);
    return link;
  }

  /** Asks for the name of a folder; `save(name)` is told it, empty where there is to be none. */
  ask(current, save) {
    const dialog = $("#folder-dialog");
    const field = $("input", dialog);
    const known = this.names.map((value) => Object.assign(document.createElement("option"), { value }));
    $("datalist", dialog).replaceChildren(...known);
    field.value = current ?? "";
    dialog.returnValue = "";
    dialog.onclose = () => dialog.returnValue === "save" && save(field.value.trim());
    dialog.showModal();
    field.select();
  }
}
