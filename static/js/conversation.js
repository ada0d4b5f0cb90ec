// One open conversation: what its socket tells, what its reader does.

import { addressesOf } from "./addresses.js";
import { Attention } from "./attention.js";
import { ConnectionBanner } from "./banner.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { $, $$, onAct, readJson, setAttribute, setText } from "./dom.js";
import { bindKeys } from "./keys.js";
import { Messages } from "./messages.js";
import { Narrator } from "./narrator.js";
import { csrfToken } from "./post.js";
import { Quote } from "./quote.js";
import { Scroll } from "./scroll.js";
import { Sidebar } from "./sidebar.js";
import { keepPlace, keepWishes, keptPlace, keptWishes, newId } from "./store.js";
import { apply, emptyTranscript, hasEnded, hasOlder, messageOf, placeOf, runningReply, shownMessages } from "./transcript.js";
import { sha256 } from "./verify.js";
import { commandOf, isWish, wishesToSend } from "./wishes.js";
import { explained, say, speak, toast } from "./words.js";

/** Whether anything is asked for that is not the server's own. */
const isSet = ({ system_prompt, parameters }) => !!system_prompt || Object.keys(parameters ?? {}).length > 0;

export class Conversation {
  #transcript = emptyTranscript();
  #painting = false;
  #openedBefore = false;

  constructor({ snapshot, limits, composerForm, leaving }) {
    const { id } = snapshot.conversation;
    Object.assign(this, { id, limits, leaving });
    this.user = snapshot.you.id;
    [this.#transcript] = apply(this.#transcript, snapshot);
    for (const wish of keptWishes(this.user, id)) [this.#transcript] = apply(this.#transcript, { type: "wish_made", wish });

    this.connection = new Connection({
      addresses: addressesOf({ id, place: () => placeOf(this.#transcript) }),
      frameBytes: limits.frameBytes,
      wants: (client_id) => this.#isOpen(client_id),
      onOpen: () => this.#opened(),
      onEvent: (event) => this.#receive(event),
      onState: (state) => this.#connectionChanged(state),
    });
    this.banner = new ConnectionBanner($("#connection"), { ...leaving, now: () => this.connection.hurry() });
    this.composer = new Composer(composerForm, {
      limits,
      user: this.user,
      conversation: id,
      keeps: !snapshot.conversation.temporary,
      send: (text, model) => this.#sendMessage(text, model),
      stop: (reply) => this.act({ type: "stop_reply", reply: reply.id }),
    });
    this.messages = new Messages($("#messages"), {
      act: (command) => this.act(command),
      sendAgain: (client_id) => this.#sendAgain(client_id),
      takeBack: (client_id) => this.#takeBack(client_id),
      judge: (message, value, before) => this.#judge(message, value, before),
      onRender: () => this.scroll.follow(),
      isOpen: () => this.connection.isOpen,
      models: [...($('[name="model"]', composerForm)?.options ?? [])],
    });
    this.scroll = new Scroll({ messages: this.messages, newest: $("#newest"), foot: $(".page-foot") });
    this.narrator = new Narrator({ choice: () => document.documentElement.dataset.speech, speak, say });
    this.attention = new Attention($('link[rel="icon"]'));
    this.quote = new Quote($("#messages"), $("#quote"), (text) => this.composer.quote(text));
    this.sidebar = new Sidebar($("#sidebar"), { current: id, rename: () => this.#rename(), gone: () => leaving.leave() });
  }

  start() {
    this.#paint();
    this.scroll.start();
    $("#older button").addEventListener("click", (event) => this.#loadOlder(event.currentTarget));
    bindKeys({
      Escape: () => this.#stop(),
      ArrowUp: (event) => this.#editLast(event),
      "Mod+.": () => this.quote.take(),
      "Mod+Shift+c": () => this.messages.copyLast(),
      "Mod+,": () => this.#openSettings(),
    });
    $('#temporary form[action$="/keep/"]')?.addEventListener("submit", (event) => this.#keep(event));
    onAct($(".page-head"), { settings: (link, event) => this.#openSettings(event) });
    if (!runningReply(this.#transcript) && matchMedia("(hover: hover)").matches) $("#text").focus({ preventScroll: true });
    this.connection.start();
    const jump = readJson("jump");
    if (jump) this.#jump(jump);
    else this.#goBack();
    addEventListener("pagehide", () => keepPlace(this.id, this.scroll.place));
  }

  /** Carries out a command; what makes a message is kept until the server has confirmed it. */
  act(command) {
    if (isWish(command)) {
      const wish = { client_id: newId(), ...command };
      this.#take({ type: "wish_made", wish });
      this.connection.send(commandOf(wish));
      if (["retry_reply", "continue_reply", "edit_message"].includes(command.type)) this.#goesDown = true;
    } else {
      this.connection.ask(command).catch(({ code, message }) => toast(code === "offline" ? say("offline") : message));
    }
  }

  /** Where one had scrolled up before leaving, one stands again: also far above what the page begins with. */
  async #goBack() {
    const place = keptPlace(this.id);
    if (!place) return;
    const isHere = () => shownMessages(this.#transcript).some(({ id }) => id === place.message);
    if (!isHere() && hasOlder(this.#transcript) && !(await this.#fetchOlder(place.message))) return;
    if (isHere()) await this.scroll.goBack(this.messages.viewOf(place.message).element, place.top);
  }

  #goesDown = false; // the next question is to be shown at the top

  #sendMessage(text, model) {
    const parent = this.#transcript.conversation.head ?? undefined;
    this.act({ type: "send_message", text, parent, model });
    this.#paint();
    this.scroll.showQuestion();
  }

  #isOpen(client_id) {
    return this.#transcript.wishes.some((wish) => wish.client_id === client_id && !wish.confirmed && !wish.refused);
  }

  #sendAgain(client_id) {
    const { refused, ...wish } = this.#transcript.wishes.find((each) => each.client_id === client_id);
    this.#take({ type: "wish_made", wish: { ...wish, parent: this.#transcript.conversation.head ?? undefined } });
    this.connection.send(commandOf(wish));
  }

  #takeBack(client_id) {
    const wish = this.#transcript.wishes.find((each) => each.client_id === client_id);
    this.#take({ type: "wish_dropped", client_id });
    if (!$("#text").value.trim()) this.composer.setText(wish.text);
  }

  /** Keeps what its reader thinks of a reply; shown at once, and taken back should it not arrive. */
  async #judge(message, value, before) {
    this.#take({ type: "feedback_changed", message, value });
    const body = new URLSearchParams({ message, value });
    const answer = await fetch(this.connection.addresses.feedback, { method: "POST", headers: { "X-CSRFToken": csrfToken() }, body }).catch(() => null);
    if (answer?.ok) return;
    this.#take({ type: "feedback_changed", message, value: before });
    toast(say("offline"));
  }

  #opened() {
    this.#take({ type: "connected" });
    for (const wish of wishesToSend(this.#transcript.wishes)) this.connection.send(wish);
    if (this.#openedBefore) this.sidebar.refetch();
    this.#openedBefore = true;
  }

  #connectionChanged(state) {
    const isEditing = $(".message-edit, dialog[open]");
    if (state.action === "reload" && this.composer.isKept && !isEditing && this.leaving.reloadOnce()) return;
    this.banner.update(state);
    this.#schedulePaint();
  }

  #receive(event) {
    if (event.type === "sidebar_changed") this.sidebar.receive(event);
    else this.#take(event);
    if (event.type === "command_refused" && event.ref === undefined) this.#showRefusal(event);
  }

  /** A refused message says so in its place; anything else in a short word. */
  #showRefusal({ client_id, detail }) {
    const wish = this.#transcript.wishes.find((each) => each.client_id === client_id);
    if (wish?.type === "send_message") return;
    if (wish) this.#take({ type: "wish_dropped", client_id });
    toast(explained(detail));
  }

  #take(event) {
    const before = this.#transcript;
    const [transcript, toDo] = apply(before, event);
    this.#transcript = transcript;
    if (transcript.wishes !== before.wishes) keepWishes(this.user, this.id, before.wishes, transcript.wishes);
    for (const command of toDo) {
      if (command.type === "verify") this.#verify(command);
      else this.connection.send(command);
    }
    this.#announce(event);
    if (transcript !== before) this.#schedulePaint();
  }

  async #verify({ reply, sha256: wanted, length }) {
    const found = await sha256(messageOf(this.#transcript, reply).text);
    if (found && found !== wanted) this.#take({ type: "reply_doubted", reply, length });
  }

  #announce({ type, message, reply }) {
    if (type === "message_created" && message.role === "assistant") this.narrator.begin(message);
    if (type === "reply_delta" && runningReply(this.#transcript)?.id === reply) this.narrator.grow(() => messageOf(this.#transcript, reply));
    if (type !== "reply_ended" || !shownMessages(this.#transcript).some(({ id }) => id === reply)) return;
    const ended = messageOf(this.#transcript, reply);
    if (hasEnded(ended)) this.narrator.end(ended);
  }

  #schedulePaint() {
    if (this.#painting) return;
    this.#painting = true;
    if (document.hidden) setTimeout(() => this.#paint(), 100);
    else requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#painting = false;
    const transcript = this.#transcript;
    const { conversation } = transcript;
    const running = runningReply(transcript);
    const title = conversation.title || say("new_conversation");
    this.messages.update(transcript);
    if (!conversation.temporary) for (const mark of $$("#temporary, .temporary-mark")) mark.remove();
    this.composer.keeps = !conversation.temporary;
    this.composer.update({ running, canWrite: conversation.role !== "reader" });
    $("#older").hidden = !hasOlder(transcript);
    setText($("#title"), title);
    setAttribute($('[data-act="settings"]'), "data-changed", isSet(conversation) ? "" : null);
    this.attention.update({ running: !!running, title });
    if (this.#goesDown && running) {
      this.#goesDown = false;
      this.scroll.showQuestion();
    }
    this.scroll.follow();
  }

  async #loadOlder(button) {
    button.disabled = true;
    await this.#fetchOlder();
    button.disabled = false;
  }

  /** Loads a page of earlier messages, or as many as lead to `through`. False where it could not be had. */
  async #fetchOlder(through = "") {
    const [first] = shownMessages(this.#transcript);
    const wanted = new URLSearchParams({ before: first.id, ...(through && { through }) });
    const answer = await fetch(`${$("#older").dataset.url}?${wanted}`).catch(() => null);
    if (!answer?.ok) {
      toast(say("older_failed"));
      return false;
    }
    const { messages, more } = await answer.json();
    this.scroll.letGo();
    this.#take({ type: "older_messages", messages, more });
    await this.scroll.keep(() => this.#paint());
    return true;
  }

  #rename() {
    const dialog = $("#rename-dialog");
    const field = $("input", dialog);
    field.value = this.#transcript.conversation.title;
    $("form", dialog).onsubmit = () => this.act({ type: "rename_conversation", title: field.value.trim() });
    dialog.showModal();
    field.select();
  }

  /** Loaded when it is first wanted. */
  #settings = null;

  async #openSettings(event) {
    if (event?.ctrlKey || event?.metaKey || event?.shiftKey) return; // the page of the settings, in a tab of its own
    event?.preventDefault();
    const { Settings } = await import("./settings.js");
    this.#settings ??= new Settings($("#settings-dialog"), { ask: (command) => this.connection.ask(command) });
    this.#settings.open(this.#transcript.conversation);
  }

  /** Keeps a temporary conversation; the form does that, too, and loads the page anew. */
  #keep(event) {
    event.preventDefault();
    this.act({ type: "keep_conversation" });
    $("#text").focus({ preventScroll: true });
  }

  /** Stops the reply that runs. Escape in an open drawer closes that. */
  #stop() {
    const running = runningReply(this.#transcript);
    if (!running || $(".drawer-open")) return false;
    this.act({ type: "stop_reply", reply: running.id });
  }

  /** ↑ where nothing is written yet. */
  #editLast({ target }) {
    return target.id === "text" && !target.value && this.messages.editLast();
  }

  /** Brings into sight what somebody has looked for: loads what lies between, or has its branch shown. */
  async #jump({ message, shown }) {
    history.replaceState(null, "", location.pathname);
    const isHere = () => shownMessages(this.#transcript).some(({ id }) => id === message);
    try {
      if (!shown) {
        await this.#until(() => this.connection.isOpen);
        await this.connection.ask({ type: "select_branch", message });
        await this.#until(() => isHere() || hasOlder(this.#transcript));
      }
      while (!isHere() && hasOlder(this.#transcript)) if (!(await this.#fetchOlder(message))) return;
      this.#paint();
      if (isHere()) await this.scroll.show(this.messages.viewOf(message).element);
    } catch ({ code, message: why }) {
      toast(code === "offline" ? say("offline") : why);
    }
  }

  /** Waits for events to bring something about, but not for ever. */
  async #until(isSo, tries = 50) {
    for (; !isSo() && tries; tries--) await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
