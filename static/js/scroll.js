// Where the page stands. A question goes to the top and its answer grows below. While somebody is at the end the page
// follows; a wheel, a finger, a key upward or a selection lets go, and coming back to the end takes up again. Nobody who reads above is moved.

import { $, prefersStill } from "./dom.js";

const NEAR = 32; // pixels that still count as "at the end"

/** The next painting; of a hidden page there is none. */
const nextFrame = () => Promise.race([new Promise(requestAnimationFrame), new Promise((resolve) => setTimeout(resolve, 100))]);

export class Scroll {
  #following = true;
  #wantsRoom = false; // a question has been asked here: it stands at the top until the next one
  #lastY = scrollY;

  constructor({ messages, newest, foot }) {
    Object.assign(this, { messages, newest, foot });
    addEventListener("wheel", (event) => event.deltaY < 0 && this.letGo(), { passive: true });
    addEventListener("touchmove", () => this.letGo(), { passive: true });
    addEventListener("keydown", (event) => this.#pressed(event));
    document.addEventListener("selectionchange", () => this.#selected());
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    addEventListener("scrollend", () => this.follow()); // what came into sight on the way may be taller than was thought
    addEventListener("resize", () => this.#makeRoom());
    newest.addEventListener("click", () => this.toEnd());
    messages.element.addEventListener("click", ({ target }) => target.closest("summary, [data-act]") && this.letGo());
    new ResizeObserver(() => this.follow()).observe(messages.element);
  }

  letGo() {
    this.#following = false;
  }

  /** At load: the end, without a movement. */
  start() {
    if (history.scrollRestoration) history.scrollRestoration = "manual";
    scrollTo(0, this.#end());
    this.#scrolled();
  }

  /** A question has been sent: it goes to the top, with room below for the answer. */
  showQuestion() {
    this.#following = true;
    this.#wantsRoom = true;
    this.#makeRoom();
    scrollTo({ top: this.#end(), behavior: prefersStill() ? "instant" : "smooth" });
  }

  /** After each painting: stay at the end if that is where the reader is. */
  follow() {
    this.#makeRoom();
    if (this.#following && this.#end() - scrollY > 1) scrollTo({ top: this.#end(), behavior: "instant" });
    this.#updateButton();
  }

  toEnd() {
    this.#following = true;
    const far = this.#end() - scrollY > 2 * innerHeight;
    scrollTo({ top: this.#end(), behavior: far || prefersStill() ? "instant" : "smooth" });
  }

  /** Where the reader stands: which message is at the top of the window, and how far from it. Null at the end, where new things come. */
  get place() {
    if (this.#end() - scrollY <= NEAR) return null;
    const head = $(".page-head").offsetHeight;
    const first = [...this.messages.element.querySelectorAll(".message[data-message]")].find((each) => each.getBoundingClientRect().bottom > head);
    return first ? { message: first.dataset.message, top: Math.round(first.getBoundingClientRect().top) } : null;
  }

  /** Stands where somebody stood before. */
  async goBack(element, top) {
    this.letGo();
    await this.#untilSettled(() => scrollBy({ top: element.getBoundingClientRect().top - top, behavior: "instant" }));
    this.#lastY = scrollY;
  }

  /** Brings one message into sight, and lets the eye find it. */
  async show(element) {
    this.letGo();
    element.focus({ preventScroll: true });
    const put = () => element.scrollIntoView({ block: element.offsetHeight > innerHeight / 2 ? "start" : "center", behavior: "instant" });
    await this.#untilSettled(put);
    element.classList.add("found");
    setTimeout(() => element.classList.remove("found"), 2500);
  }

  /** Runs `change`, which adds something above, and leaves in its place what was in sight; over when nothing moves any more. */
  async keep(change) {
    const anchor = this.messages.element.querySelector(".message");
    const top = anchor?.getBoundingClientRect().top;
    const putBack = () => anchor?.isConnected && scrollBy({ top: anchor.getBoundingClientRect().top - top, behavior: "instant" });
    change();
    await this.#untilSettled(putBack);
  }

  /** Blocks that come into sight take their real height only then, and move what is below them. */
  async #untilSettled(put) {
    for (let frame = 0; frame < 3; frame++) {
      put();
      await nextFrame();
    }
  }

  /** The last answer fills what the question leaves of the window, so that nothing jumps when it begins or ends. */
  #makeRoom() {
    const last = this.messages.lastMessage;
    for (const roomy of this.messages.element.querySelectorAll("[data-roomy]")) {
      if (roomy === last) continue;
      roomy.style.minBlockSize = "";
      delete roomy.dataset.roomy;
    }
    const question = this.messages.lastQuestion;
    if (!this.#wantsRoom || !last || !question) return;
    const head = $(".page-head").offsetHeight;
    const taken = last === question ? head : last.offsetTop - question.offsetTop + head;
    const below = parseFloat(getComputedStyle(this.messages.element).paddingBlockEnd) + parseFloat(getComputedStyle(last).marginBlockEnd);
    const room = Math.max(innerHeight - this.foot.offsetHeight - below - taken - 8, 0);
    last.dataset.roomy = "";
    last.style.minBlockSize = `${Math.floor(room)}px`;
  }

  #end = () => document.documentElement.scrollHeight - innerHeight;

  #pressed(event) {
    const typing = event.target.closest?.("textarea, input, select");
    if (!typing && ["ArrowUp", "PageUp", "Home"].includes(event.key)) this.letGo();
  }

  /** What somebody is selecting must not move away under the pointer. */
  #selected() {
    const { isCollapsed, anchorNode } = getSelection();
    if (!isCollapsed && this.messages.element.contains(anchorNode)) this.letGo();
  }

  #scrolled() {
    const atEnd = this.#end() - scrollY <= NEAR;
    if (atEnd && scrollY >= this.#lastY) this.#following = true;
    if (!atEnd && scrollY < this.#lastY) this.letGo(); // whatever moved it up, also the scroll bar
    this.#lastY = scrollY;
    this.#updateButton();
  }

  #updateButton() {
    this.newest.hidden = this.#end() - scrollY < 240;
  }
}
