// The tab of the browser tells how its conversation stands: "●" while a reply is written, "✓" and a dot on the icon when one
// has ended that nobody was looking at, until somebody looks.

export class Attention {
  #running = false;
  #unseen = false;
  #title = "";

  /** `icon` is the page's, with the address of the other one in `data-finished`. */
  constructor(icon, page = document) {
    Object.assign(this, { icon, page });
    this.usual = icon.getAttribute("href");
    page.addEventListener("visibilitychange", () => this.#show());
  }

  update({ running, title }) {
    if (this.#running && !running && this.page.hidden) this.#unseen = true;
    this.#running = running;
    this.#title = title;
    this.#show();
  }

  #show() {
    if (!this.page.hidden || this.#running) this.#unseen = false;
    const mark = this.#running ? "● " : this.#unseen ? "✓ " : "";
    this.page.title = `${mark}${this.#title} · Parley`;
    const address = this.#unseen ? this.icon.dataset.finished : this.usual;
    if (this.icon.getAttribute("href") !== address) this.icon.setAttribute("href", address);
  }
}
