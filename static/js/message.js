// One message on the page: made by the server or from its template, kept right by `update`.

import { copyCode, copyText } from "./code.js";
import { sayThought, showFacts } from "./details.js";
import { $, $$, cloneTemplate, completeFrom, setAttribute, setText } from "./dom.js";
import { equipRendered, GrowingMarkdown } from "./markdown.js";
import { standingOf } from "./state-words.js";
import { hasEnded } from "./transcript.js";
import { say, sayTime, toast } from "./words.js";

export class MessageView {
  #shown = {}; // what `update` was called with
  #text = null; // what stands in the element
  #growing = null;
  #ticking = null;
  #thinksSince = null; // as this page has seen it; what the server has measured comes with the end
  #thought = null; // milliseconds

  /** `element` is one of the server's, or absent. `page` has `onRender` and `unfold`. */
  constructor(page, element = null) {
    this.page = page;
    this.adopted = element !== null;
    this.element = element ? completeFrom("message-template", element) : cloneTemplate("message-template");
    this.body = $(".message-text", this.element);
  }

  /** `here`: {last, busy, several, canWrite, manyModels}: what the message does not know of itself. */
  update(message, here) {
    const same = message === this.#shown.message && Object.keys(here).every((key) => here[key] === this.#shown.here[key]);
    if (same) return;
    this.#shown = { message, here };
    this.message = message;
    this.#updateFrame();
    this.#updateText();
    this.#updateReasoning();
    this.#updateStanding();
    this.#updateTools();
    this.adopted = false;
  }

  remove() {
    clearTimeout(this.#ticking);
    this.element.remove();
  }

  #updateFrame() {
    const { element, message } = this;
    const { here } = this.#shown;
    setAttribute(element, "data-message", message.id);
    setAttribute(element, "data-client", message.client_id);
    setAttribute(element, "data-role", message.role);
    setAttribute(element, "data-status", message.status);
    setAttribute(element, "aria-busy", message.role === "assistant" && !hasEnded(message) ? "true" : null);
    element.classList.add(message.role);
    element.classList.toggle("last", here.last);
    element.classList.toggle("pending", !!message.pending && !message.refused);
    element.classList.toggle("refused", !!message.refused);
    const own = message.role === "user";
    const author = $(".message-author", element);
    setText(author, own ? (message.author?.name ?? say("you")) : say("reply"));
    author.classList.toggle("visually-hidden", !own || !here.several);
  }

  #updateText() {
    const { body, message } = this;
    if (message.role === "assistant") this.#updateReply();
    else if (this.#text !== message.text) {
      setText(body, message.text);
      this.#fold();
    }
    this.#text = message.text;
  }

  #updateReply() {
    const { body, message } = this;
    // One that has ended may still be on its way here: to render it whole each time would take a minute for a book.
    const whole = hasEnded(message) && !message.partial;
    body.classList.add("markdown");
    body.hidden = !message.text;
    if (this.adopted && whole) {
      equipRendered(body, message.text);
    } else if (this.#growing || !whole || this.#text !== message.text) {
      this.#growing ??= new GrowingMarkdown(body, () => this.page.onRender());
      this.#growing.update(message.text, whole);
      if (whole) this.#growing = null;
    }
  }

  /** A long text of one's own is folded, so that the answer is in sight. */
  #fold() {
    const unfold = $(".message-unfold", this.element);
    requestAnimationFrame(() => {
      const tall = this.body.scrollHeight > 480 && unfold.dataset.done !== "yes";
      this.element.classList.toggle("folded", tall);
      unfold.hidden = !tall;
    });
  }

  unfold() {
    const unfold = $(".message-unfold", this.element);
    unfold.dataset.done = "yes";
    unfold.hidden = true;
    this.element.classList.remove("folded");
  }

  #updateReasoning() {
    const { element, message } = this;
    const details = $(".reasoning", element);
    details.hidden = !message.reasoning;
    if (!message.reasoning) return;
    const body = $(".reasoning-text", details);
    const node = body.firstChild;
    if (node && message.reasoning.startsWith(node.data)) node.appendData(message.reasoning.slice(node.data.length));
    else body.textContent = message.reasoning;
    const thinking = !hasEnded(message) && !message.text;
    details.classList.toggle("growing", thinking);
    this.#thinksSince ??= thinking && !this.adopted ? performance.now() : NaN;
    if (!thinking) this.#thought ??= performance.now() - this.#thinksSince;
    setText($(".reasoning-label", details), thinking ? say("thinking") : sayThought(message.usage?.thought_ms ?? this.#thought));
  }

  #updateStanding() {
    clearTimeout(this.#ticking);
    const { words, alert, dots, ticking, steps } = standingOf(this.message, Date.now());
    const state = $(".message-state", this.element);
    const { canWrite, last } = this.#shown.here;
    const offered = canWrite && (last || this.message.refused) ? steps : [];
    $(".message-dots", this.element).hidden = !dots;
    state.hidden = !words;
    setText($(".message-words", state), words);
    setAttribute($(".icon", state), "hidden", alert ? null : "");
    for (const button of $$("[data-act]", state)) button.hidden = !offered.includes(button.dataset.act);
    if (ticking) this.#ticking = setTimeout(() => this.#updateStanding(), 500);
  }

  #updateTools() {
    const { element, message } = this;
    const { busy, canWrite, manyModels } = this.#shown.here;
    const own = message.role === "user";
    const kept = !message.pending;
    const siblings = message.siblings ?? [message.id];
    const at = siblings.indexOf(message.id);
    const tool = (name) => $(`.message-tools [data-act="${name}"]`, element);
    $(".branch", element).hidden = siblings.length < 2;
    setText($(".branch-number", element), `${at + 1} / ${siblings.length}`);
    setAttribute($(".branch-number", element), "aria-label", say("branch", { number: at + 1, count: siblings.length }));
    tool("previous").disabled = at <= 0;
    tool("next").disabled = at >= siblings.length - 1;
    tool("copy").hidden = !message.text;
    tool("edit").hidden = !(own && kept && canWrite) || busy;
    tool("retry-tool").hidden = own || !canWrite || busy;
    tool("delete-branch").hidden = !kept || !canWrite || busy;
    $(".retry-with", element).hidden = own || !canWrite || busy || !manyModels;
    $(".feedback", element).hidden = own || !hasEnded(message);
    for (const button of $$(".feedback button", element)) setAttribute(button, "aria-pressed", String(button.value === message.feedback));
    $(".message-tools", element).hidden = !kept;
    this.#updateFacts();
  }

  #updateFacts() {
    const { message } = this;
    const date = new Date(message.created_at);
    const time = document.createElement("time");
    time.dateTime = message.created_at;
    time.textContent = message.created_at ? sayTime(date) : "";
    const model = message.role === "assistant" && message.model ? ` · ${message.model}` : "";
    $(".message-facts", this.element).replaceChildren(time, model);
    const details = $(".facts", this.element);
    details.hidden = message.role !== "assistant" || !message.model;
    if (details.open) this.showFacts();
  }

  /** Filled when it is opened: there may be hundreds of messages. */
  showFacts() {
    showFacts($("dl", $(".facts", this.element)), this.message);
  }

  async copy(button) {
    const done = await copyText(this.message.text, this.message.role === "assistant" ? richTextOf(this.body) : "");
    if (!done) return toast(say("copy_failed"));
    showDone(button);
  }
}

/** What is shown, as other programs take it in: without our buttons. */
function richTextOf(body) {
  const copy = body.cloneNode(true);
  for (const ours of $$(".code-head, button", copy)) ours.remove();
  return copy.innerHTML;
}

/** A tick in the place of the icon, for a moment. */
function showDone(button) {
  const use = $("use", button);
  const address = document.documentElement.dataset.icons;
  use.setAttribute("href", `${address}#check`);
  setTimeout(() => use.setAttribute("href", `${address}#copy`), 1600);
}

export { copyCode };
