// The list of conversations: live, by days, with a mark where a reply is being written. Its rows are the server's, page after
// page as one scrolls down; events and a fresh list after a lost connection change the same entries.

import { headingOf } from "./days.js";
import { $, $$, cloneTemplate, completeFrom, onAct, setAttribute, setText } from "./dom.js";
import { Folders } from "./folders.js";
import { csrfToken } from "./post.js";
import { sanitizeList } from "./sanitize.js";
import { tab } from "./store.js";
import { say, sayMonth, toast } from "./words.js";

const MOST_PAGES = 20; // that are fetched anew after a lost connection; further ones come again as one scrolls
const NO_ID = "00000000-0000-0000-0000-000000000000"; // stands in the addresses that the template gives

export class Sidebar {
  #entries = new Map(); // id → {id, title, updated_at, running, unread}
  #rows = new Map(); // id → li
  #pages = 1;
  #loading = false;

  /** `current` is the open conversation's id; `rename()` is offered for it and `gone()` told when it goes. */
  constructor(element, { current, rename, gone }) {
    Object.assign(this, { element, current, rename, gone });
    this.list = $("#sidebar-list", element);
    this.folders = new Folders($("#folders", element), { onChoose: () => this.#startAnew() });
    for (const row of $$("[data-conversation]", this.list)) {
      this.#entries.set(row.dataset.conversation, readRow(row));
      this.#rows.set(row.dataset.conversation, completeFrom("entry-template", row));
    }
    this.more = $(".sidebar-more", this.list);
    this.#scrolled = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.#loadMore(), { root: this.list, rootMargin: "400px" });
    this.more.addEventListener("click", (event) => {
      event.preventDefault();
      this.#loadMore();
    });
    onAct(this.list, {
      pin: (button) => this.#close(button, () => this.#shelve(button, (shelf) => (shelf === "pinned" ? "listed" : "pinned"))),
      archive: (button) => this.#close(button, () => this.#shelve(button, () => "archived")),
      folder: (button) => this.#close(button, () => this.#askForFolder(button.closest("[data-conversation]").dataset.conversation)),
      rename: (button) => this.#close(button, () => this.rename()),
      delete: (button) => this.#close(button, () => this.#delete(button.closest("[data-conversation]").dataset.conversation)),
    });
    this.update();
    this.#scrolled.observe(this.more);
    setInterval(() => this.update(), 600_000); // today becomes yesterday
  }

  #scrolled;
  #deleting = null; // what is on its way to be deleted by this tab

  /** An event `sidebar_changed`. */
  receive({ conversation, removed }) {
    if (removed) {
      this.#entries.delete(removed);
      if (removed === this.current && removed !== this.#deleting) this.gone();
    } else {
      const known = this.#entries.get(conversation.id);
      this.#entries.set(conversation.id, { ...known, ...conversation });
      this.folders.receive(known, conversation);
    }
    this.update();
  }

  /** Another folder is shown: its first page. What is there of it already stays while that comes. */
  #startAnew() {
    this.#pages = 1;
    this.update();
    this.refetch();
  }

  async #askForFolder(id) {
    const entry = this.#entries.get(id);
    this.folders.ask(entry.folder, async (folder) => {
      if (folder === (entry.folder || "")) return;
      const answer = await this.#post("folder", id, { folder }); // and an event shows it, here as everywhere
      if (!answer?.ok) toast(answer?.status === 400 ? await answer.text() : say("offline"));
    });
  }

  /** After a lost connection: the list anew, as far as it was loaded. */
  async refetch() {
    if (this.#loading) return;
    this.#loading = true;
    const entries = new Map();
    let after = "";
    let page = 0;
    do {
      const found = await this.#fetch(after);
      if (!found) break;
      for (const entry of found.entries) entries.set(entry.id, entry);
      after = found.after;
    } while (++page < Math.min(this.#pages, MOST_PAGES) && after);
    this.#loading = false;
    if (!page) return;
    this.#entries = entries;
    this.#show(page, after);
  }

  /** The next page. What an event has told of a conversation meanwhile is newer than its line there. */
  async #loadMore() {
    const { after } = this.more.dataset;
    if (this.#loading || !after) return;
    this.#loading = true;
    const found = await this.#fetch(after);
    this.#loading = false;
    if (!found) return; // the link stays, to be clicked
    for (const entry of found.entries) if (!this.#entries.has(entry.id)) this.#entries.set(entry.id, entry);
    this.#show(this.#pages + 1, found.after);
  }

  /** `{entries, after}` of the page behind a place. */
  async #fetch(after) {
    const address = `${this.element.dataset.url}?after=${encodeURIComponent(after)}${this.folders.query.replace("?", "&")}`;
    const answer = await fetch(address, { headers: { "X-Requested-With": "fetch" } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return null;
    const { rows, after: next } = sanitizeList(await answer.text());
    return { entries: rows.map(readRow), after: next };
  }

  #show(pages, after) {
    this.#pages = pages;
    this.more.dataset.after = after;
    this.more.hidden = !after;
    this.update();
    // Where the list is still too short to scroll, nothing would come into sight again.
    this.#scrolled.unobserve(this.more);
    this.#scrolled.observe(this.more);
  }

  update() {
    const newest = [...this.#entries.values()].filter((entry) => this.folders.shows(entry)).sort((a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at));
    const pinned = newest.filter(({ shelf }) => shelf === "pinned");
    const groups = new Map();
    for (const entry of [...pinned, ...newest.filter(({ shelf }) => shelf !== "pinned" && shelf !== "archived")]) {
      const heading = entry.shelf === "pinned" ? say("pinned") : wordsFor(headingOf(new Date(entry.updated_at), new Date()));
      groups.set(heading, [...(groups.get(heading) ?? []), entry]);
    }
    // First, so that the others need not be moved, which would take the focus from them.
    for (const [id, row] of this.#rows) {
      const entry = this.#entries.get(id);
      if (entry && entry.shelf !== "archived" && this.folders.shows(entry)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    if (groups.size === 0) return void ($(".sidebar-group", this.list) && this.list.replaceChildren(this.more));
    const sections = [...groups].map(([heading, group], index) => this.#section(index, heading, group));
    for (const extra of [...this.list.children].filter((child) => child !== this.more && !sections.includes(child))) extra.remove();
    if (this.list.lastElementChild !== this.more) this.list.append(this.more);
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
    setAttribute(link, "href", this.#address("conversation", entry.id) + this.folders.query);
    const folder = $(".entry-folder", row);
    folder.hidden = !entry.folder || this.folders.chosen !== "";
    setText(folder, entry.folder || "");
    setText(link, entry.title || say("new_conversation"));
    setAttribute(link, "title", entry.title);
    setAttribute(link, "aria-current", entry.id === this.current ? "page" : null);
    $(".entry-running", row).hidden = !entry.running;
    row.classList.toggle("unread", !!entry.unread && entry.id !== this.current);
    setText($('[data-act="pin"] span', row), say(entry.shelf === "pinned" ? "unpin" : "pin"));
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

  /** Pins, puts away, or undoes that; shown at once, and put right by the event or the failure. */
  async #shelve(button, next) {
    const id = button.closest("[data-conversation]").dataset.conversation;
    const entry = this.#entries.get(id);
    const shelf = next(entry.shelf);
    if (shelf === "archived") this.#focusBeside(id);
    const done = await this.#putOn(entry, shelf);
    if (done && shelf === "archived") toast(say("archived"), { words: say("undo"), act: () => this.#putOn(entry, "listed") });
  }

  async #putOn(entry, shelf) {
    const before = this.#entries.get(entry.id)?.shelf ?? entry.shelf;
    const show = (where) => {
      this.#entries.set(entry.id, { ...(this.#entries.get(entry.id) ?? entry), shelf: where });
      this.update();
    };
    show(shelf);
    const answer = await this.#post("shelf", entry.id, { shelf });
    if (answer?.ok) return true;
    show(before);
    toast(say("offline"));
    return false;
  }

  async #delete(id) {
    if (!this.element.dataset.undo) return this.#askToDelete(id);
    const entry = this.#entries.get(id);
    this.#deleting = id;
    this.#focusBeside(id);
    this.#entries.delete(id);
    this.update();
    const answered = this.#post("delete", id);
    // Offered with the sight of it: who sees it go presses Ctrl+Z at once.
    if (id !== this.current) this.#offerToRestore(id, answered);
    const answer = await answered;
    this.#deleting = null;
    if (!answer?.ok) {
      this.#entries.set(id, entry);
      this.update();
      toast(answer?.status === 403 ? await answer.text() : say("offline"));
    } else if (id === this.current) {
      tab.set("deleted", id); // the next page says so
      this.gone();
    }
  }

  /** On the page after that of a conversation that was deleted here: the way back to it. */
  startBehindDeleted() {
    const id = tab.get("deleted");
    tab.set("deleted", "");
    if (id) this.#offerToRestore(id, null, () => location.assign(this.#address("conversation", id)));
  }

  /** Offers the way back; one that is taken before the deletion is `answered` waits for that. */
  #offerToRestore(id, answered, then = () => {}) {
    const act = async () => {
      if (answered && !(await answered)?.ok) return; // it has not gone, and that was said
      const answer = await this.#post("restore", id);
      if (answer?.ok) then(); // and an event brings its line
      else toast(say(answer?.status === 404 ? "undo_too_late" : "offline"));
    };
    toast(say("deleted"), { words: say("undo"), act });
  }

  #post(what, id, fields = {}) {
    const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json" };
    return fetch(this.#address(what, id), { method: "POST", headers, body: new URLSearchParams(fields) }).catch(() => null);
  }

  /** The line that has the focus goes: the next one gets it, and not the top of the page. */
  #focusBeside(id) {
    const links = $$(".entry-link", this.list);
    const place = links.indexOf($(".entry-link", this.#rows.get(id)));
    (links[place + 1] ?? links[place - 1] ?? $(".new-conversation", this.element)).focus();
  }

  #askToDelete(id) {
    const dialog = $("#delete-dialog");
    setText($("[data-title]", dialog), this.#entries.get(id)?.title || say("new_conversation"));
    $("form", dialog).action = this.#address("delete", id);
    dialog.showModal();
  }
}

function readRow(row) {
  const { conversation, updated, running, shelf, folder } = row.dataset;
  return { id: conversation, shelf, folder, title: $("a", row).title || $("a", row).textContent.trim(), updated_at: updated, running: running === "yes", unread: row.classList.contains("unread") };
}

const wordsFor = ({ key, month }) => (key ? say(key) : sayMonth(month));

function newSection(list) {
  const section = document.createElement("section");
  section.className = "sidebar-group";
  section.append(document.createElement("h2"), document.createElement("ul"));
  list.append(section);
  return section;
}
