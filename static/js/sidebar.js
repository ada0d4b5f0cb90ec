// The list of conversations: live, by days, with a mark where a reply is being written. Its rows are the server's; events
// and a fresh list after a lost connection change the same entries.

import { headingOf } from "./days.js";
import { $, $$, cloneTemplate, completeFrom, onAct, setAttribute, setText } from "./dom.js";
import { sanitizeList } from "./sanitize.js";
import { say, sayMonth } from "./words.js";

const NO_ID = "00000000-0000-0000-0000-000000000000"; // stands in the addresses that the template gives

export class Sidebar {
  #entries = new Map(); // id → {id, title, updated_at, running, unread}
  #rows = new Map(); // id → li

  /** `current` is the open conversation's id; `rename()` is offered for it and `gone()` told when it goes. */
  constructor(element, { current, rename, gone }) {
    Object.assign(this, { element, current, rename, gone });
    this.list = $("#sidebar-list", element);
    for (const row of $$("[data-conversation]", this.list)) {
      this.#entries.set(row.dataset.conversation, readRow(row));
      this.#rows.set(row.dataset.conversation, completeFrom("entry-template", row));
    }
    onAct(this.list, {
      rename: (button) => this.#close(button, () => this.rename()),
      delete: (button) => this.#close(button, () => this.#askToDelete(button.closest("[data-conversation]").dataset.conversation)),
    });
    this.update();
    setInterval(() => this.update(), 600_000); // today becomes yesterday
  }

  /** An event `sidebar_changed`. */
  receive({ conversation, removed }) {
    if (removed) {
      this.#entries.delete(removed);
      if (removed === this.current) this.gone();
    } else {
      this.#entries.set(conversation.id, { ...this.#entries.get(conversation.id), ...conversation });
    }
    this.update();
  }

  /** After a lost connection: the whole list anew. */
  async refetch() {
    const answer = await fetch(this.element.dataset.url, { headers: { "X-Requested-With": "fetch" } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const rows = sanitizeList(await answer.text());
    this.#entries = new Map(rows.map((row) => [row.dataset.conversation, readRow(row)]));
    this.update();
  }

  update() {
    const entries = [...this.#entries.values()].sort((a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at));
    const groups = new Map();
    for (const entry of entries) {
      const heading = wordsFor(headingOf(new Date(entry.updated_at), new Date()));
      groups.set(heading, [...(groups.get(heading) ?? []), entry]);
    }
    if (groups.size === 0) return void ($(".sidebar-group", this.list) && this.list.replaceChildren());
    const sections = [...groups].map(([heading, group], index) => this.#section(index, heading, group));
    for (const extra of [...this.list.children].filter((child) => !sections.includes(child))) extra.remove();
    for (const [id, row] of this.#rows) {
      if (this.#entries.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
  }

  #section(index, heading, entries) {
    const sections = $$(".sidebar-group", this.list);
    const section = sections[index] ?? newSection(this.list);
    setText($("h2", section), heading);
    const list = $("ul", section);
    entries.forEach((entry, place) => {
      const row = this.#row(entry);
      if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    });
    while (list.children.length > entries.length) list.lastElementChild.remove(); // they belong further down, or nowhere
    return section;
  }

  #row(entry) {
    const row = this.#rows.get(entry.id) ?? cloneTemplate("entry-template");
    this.#rows.set(entry.id, row);
    setAttribute(row, "data-conversation", entry.id);
    const link = $("a", row);
    if (!link.getAttribute("href")) link.href = this.#address("conversation", entry.id);
    setText(link, entry.title || say("new_conversation"));
    setAttribute(link, "title", entry.title);
    setAttribute(link, "aria-current", entry.id === this.current ? "page" : null);
    $(".entry-running", row).hidden = !entry.running;
    row.classList.toggle("unread", !!entry.unread && entry.id !== this.current);
    $('[data-act="rename"]', row).hidden = entry.id !== this.current || !this.rename;
    return row;
  }

  #close(button, act) {
    const menu = button.closest("details");
    menu.open = false;
    $("summary", menu).focus();
    act();
  }

  #address = (name, id) => this.element.dataset[name].replace(NO_ID, id);

  #askToDelete(id) {
    const dialog = $("#delete-dialog");
    setText($("[data-title]", dialog), this.#entries.get(id)?.title || say("new_conversation"));
    $("form", dialog).action = this.#address("delete", id);
    dialog.showModal();
  }
}

function readRow(row) {
  const { conversation, updated, running } = row.dataset;
  return { id: conversation, title: $("a", row).title || $("a", row).textContent.trim(), updated_at: updated, running: running === "yes", unread: row.classList.contains("unread") };
}

const wordsFor = ({ key, month }) => (key ? say(key) : sayMonth(month));

function newSection(list) {
  const section = document.createElement("section");
  section.className = "sidebar-group";
  section.append(document.createElement("h2"), document.createElement("ul"));
  list.append(section);
  return section;
}
