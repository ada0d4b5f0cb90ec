// The line that says there is no connection, why, and what comes next.

import { $, setText } from "./dom.js";
import { say } from "./words.js";

const PATIENCE = 1200; // milliseconds: a connection that is back by then was not worth a word

export class ConnectionBanner {
  #ticking = null;
  #since = null;

  /** `actions`: what the button does, by the name that schedule.js gives it; `now` tries at once. */
  constructor(element, actions) {
    Object.assign(this, { element, actions });
    this.button = $("button", element);
    this.button.addEventListener("click", () => this.actions[this.button.value]());
  }

  update({ open, words, action, until }) {
    clearTimeout(this.#ticking);
    document.documentElement.toggleAttribute("data-connected", open);
    if (open) {
      this.#since = null;
      this.element.hidden = true;
      return;
    }
    this.#since ??= Date.now();
    const wait = action ? 0 : this.#since + PATIENCE - Date.now();
    if (wait > 0) this.#ticking = setTimeout(() => this.update({ open, words, action, until }), wait);
    else this.#show(words, action, until);
  }

  #show(words, action, until) {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    const next = seconds > 0 ? say("reconnecting", { seconds }) : say("reconnecting_now");
    this.element.hidden = false;
    setText($("span", this.element), action ? say(words) : `${say(words)} ${next}`);
    this.button.hidden = false;
    this.button.value = action ?? "now";
    setText(this.button, say(action ?? "now"));
    if (!action && seconds > 0) this.#ticking = setTimeout(() => this.#show(words, action, until), 1000);
  }
}
