// One open conversation: what its socket tells, what its reader does.

import { addressesOf } from "./addresses.js";
import { ConnectionBanner } from "./banner.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { $, setText } from "./dom.js";
import { Messages } from "./messages.js";
import { Scroll } from "./scroll.js";
import { Sidebar } from "./sidebar.js";
import { keepWishes, keptWishes, newId } from "./store.js";
import { apply, emptyTranscript, hasEnded, hasOlder, messageOf, placeOf, runningReply, shownMessages } from "./transcript.js";
import { sha256 } from "./verify.js";
import { commandOf, isWish, wishesToSend } from "./wishes.js";
import { explained, say, speak, toast } from "./words.js";

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
      limit: limits.messageCharacters,
      user: this.user,
      conversation: id,
      send: (text, model) => this.#sendMessage(text, model),
      stop: (reply) => this.act({ type: "stop_reply", reply: reply.id }),
    });
    this.messages = new Messages($("#messages"), {
      act: (command) => this.act(command),
      sendAgain: (client_id) => this.#sendAgain(client_id),
      takeBack: (client_id) => this.#takeBack(client_id),
      onRender: () => this.scroll.follow(),
      isOpen: () => this.connection.isOpen,
      models: [...($("select", composerForm)?.options ?? [])],
    });
    this.scroll = new Scroll({ messages: this.messages, newest: $("#newest"), foot: $(".page-foot") });
    this.sidebar = new Sidebar($("#sidebar"), { current: id, rename: () => this.#rename(), gone: () => leaving.leave() });
  }

  start() {
    this.#paint();
    this.scroll.start();
    $("#older button").addEventListener("click", (event) => this.#loadOlder(event.currentTarget));
    document.addEventListener("keydown", (event) => this.#pressed(event));
    if (!runningReply(this.#transcript) && matchMedia("(hover: hover)").matches) $("#text").focus({ preventScroll: true });
    this.connection.start();
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

  /** Screen readers hear that a reply has begun, and then its text when it is finished, not every word on its way. */
  #announce({ type, message, reply }) {
    if (type === "message_created" && message.role === "assistant") speak(say("streaming"));
    if (type !== "reply_ended" || !shownMessages(this.#transcript).some(({ id }) => id === reply)) return;
    const ended = messageOf(this.#transcript, reply);
    if (hasEnded(ended)) speak(ended.status === "done" ? ended.text : say(ended.status));
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
    this.composer.update({ running, canWrite: conversation.role !== "reader" });
    $("#older").hidden = !hasOlder(transcript);
    setText($("#title"), title);
    document.title = `${running ? "● " : ""}${title} · Parley`;
    if (this.#goesDown && running) {
      this.#goesDown = false;
      this.scroll.showQuestion();
    }
    this.scroll.follow();
  }

  async #loadOlder(button) {
    const [first] = shownMessages(this.#transcript);
    button.disabled = true;
    const answer = await fetch(`${$("#older").dataset.url}?before=${encodeURIComponent(first.id)}`).catch(() => null);
    button.disabled = false;
    if (!answer?.ok) return toast(say("older_failed"));
    const { messages, more } = await answer.json();
    this.scroll.letGo();
    this.#take({ type: "older_messages", messages, more });
    this.scroll.keep(() => this.#paint());
  }

  #rename() {
    const dialog = $("#rename-dialog");
    const field = $("input", dialog);
    field.value = this.#transcript.conversation.title;
    $("form", dialog).onsubmit = () => this.act({ type: "rename_conversation", title: field.value.trim() });
    dialog.showModal();
    field.select();
  }

  /** Escape stops the reply, unless it closes something that is open. */
  #pressed(event) {
    const running = runningReply(this.#transcript);
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || !running || $("dialog[open], .drawer-open")) return;
    this.act({ type: "stop_reply", reply: running.id });
  }
}
