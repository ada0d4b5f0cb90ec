// The list of messages: one view for each message of the shown branch, in order, and what can be done with them.

import { askToDelete } from "./branches.js";
import { copyCode, saveCode, wrapLines } from "./code.js";
import { $, $$, cloneTemplate, onAct } from "./dom.js";
import { openEditor } from "./editor.js";
import { MessageView } from "./message.js";
import { runningReply, shownMessages } from "./transcript.js";

export class Messages {
  #views = new Map(); // id, or client_id while there is no id → view
  #sight = null;

  /** `page` has `act(command)`, `onRender()`, and `models`: {value, text} of each. */
  constructor(element, page) {
    this.element = element;
    this.page = page;
    for (const each of $$(".message", element)) this.#views.set(each.dataset.message, new MessageView(page, each));
    onAct(element, this.#actions());
    element.addEventListener("toggle", ({ target }) => {
      if (target.matches(".retry-with[open]")) this.#listModels(target);
      if (target.matches(".facts[open]")) this.viewAt(target).showFacts();
    }, true);
  }

  update(transcript) {
    const messages = [...shownMessages(transcript), ...pendingMessages(transcript, this.page.isOpen())];
    const here = {
      busy: runningReply(transcript) !== null,
      several: transcript.members.length > 1,
      canWrite: transcript.conversation.role !== "reader",
      manyModels: this.page.models.length > 1,
    };
    const views = messages.map((message) => this.#viewOf(message));
    this.#place(views);
    messages.forEach((message, index) => views[index].update(message, { ...here, last: index === messages.length - 1 }));
    this.#placeSight(messages);
  }

  /** The last message of a person and what follows: scroll.js keeps the one on top. */
  get lastQuestion() {
    return $$(".message.user", this.element).at(-1) ?? null;
  }

  get lastMessage() {
    return $$(".message", this.element).at(-1) ?? null;
  }

  viewOf(id) {
    return this.#views.get(id);
  }

  /** Opens the editor of the last question. False where there is none that can be edited. */
  editLast() {
    const button = this.lastQuestion && $('[data-act="edit"]', this.lastQuestion);
    if (!button || button.hidden) return false;
    openEditor(this.viewAt(button), this.page);
    this.lastQuestion.scrollIntoView({ block: "nearest" });
    return true;
  }

  copyLast() {
    const button = $$('.message.assistant [data-act="copy"]', this.element).at(-1);
    if (!button || button.hidden) return false;
    this.viewAt(button).copy(button);
    return true;
  }

  viewAt(element) {
    return [...this.#views.values()].find((view) => view.element === element.closest(".message"));
  }

  #viewOf(message) {
    const key = message.id ?? message.client_id;
    let view = this.#views.get(key) ?? this.#views.get(message.client_id);
    view ??= new MessageView(this.page);
    this.#views.delete(message.client_id);
    this.#views.set(key, view);
    return view;
  }

  #place(views) {
    const wanted = new Set(views);
    for (const [key, view] of this.#views) {
      if (wanted.has(view)) continue;
      view.remove();
      this.#views.delete(key);
    }
    let before = null;
    for (const { element } of views.toReversed()) {
      if (element.parentElement !== this.element || this.#nextMessage(element) !== before) this.element.insertBefore(element, before);
      before = element;
    }
  }

  #nextMessage(element) {
    let next = element.nextElementSibling;
    while (next && !next.matches(".message")) next = next.nextElementSibling;
    return next;
  }

  /** Above the first message that the model saw for the last reply, if it did not see all. */
  #placeSight(messages) {
    const last = messages.findLast((message) => message.role === "assistant");
    const first = last?.sight && this.#views.get(last.sight)?.element;
    if (!first) {
      this.#sight?.remove();
    } else if (first.previousElementSibling !== this.#sight || !this.#sight) {
      this.#sight ??= cloneTemplate("sight-template");
      first.before(this.#sight);
    }
  }

  /** There may be hundreds of models, and messages: a menu is filled when it is opened. */
  #listModels(menu) {
    const sheet = $(".menu-sheet", menu);
    if ($("button", sheet)) return;
    for (const { value, text } of this.page.models) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "menu-item", value, textContent: text });
      button.dataset.act = "retry-with";
      sheet.append(button);
    }
  }

  #actions() {
    const { page } = this;
    const branch = (step) => (button) => {
      const { id, siblings } = this.viewAt(button).message;
      page.act({ type: "select_branch", message: siblings[siblings.indexOf(id) + step] });
    };
    const retry = (button, model) => page.act({ type: "retry_reply", reply: this.viewAt(button).message.id, ...(model && { model }) });
    return {
      previous: branch(-1),
      next: branch(1),
      copy: (button) => this.viewAt(button).copy(button),
      "copy-code": copyCode,
      "save-code": saveCode,
      "wrap-code": wrapLines,
      feedback: (button) => {
        const { id, feedback } = this.viewAt(button).message;
        page.judge(id, button.value === feedback ? "" : button.value, feedback);
      },
      edit: (button) => openEditor(this.viewAt(button), page),
      retry: (button) => retry(button),
      "retry-tool": (button) => retry(button),
      "retry-with": (button) => {
        button.closest("details").open = false;
        retry(button, button.value);
      },
      "delete-branch": (button) => askToDelete(this.viewAt(button), (command) => page.act(command)),
      continue: (button) => page.act({ type: "continue_reply", reply: this.viewAt(button).message.id }),
      "send-again": (button) => page.sendAgain(this.viewAt(button).message.client_id),
      "take-back": (button) => page.takeBack(this.viewAt(button).message.client_id),
      unfold: (button) => this.viewAt(button).unfold(),
    };
  }
}

function pendingMessages({ wishes, you }, open) {
  return wishes
    .filter((wish) => wish.type === "send_message")
    .map(({ client_id, text, refused }) => ({ id: null, client_id, role: "user", status: "done", text, author: you, pending: true, refused, offline: !open, created_at: "" }));
}
