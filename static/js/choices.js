// A list of choices under a field that keeps the focus: the arrows move through it, the pointer too, and what is chosen is told
// to screen readers by the field. https://www.w3.org/WAI/ARIA/apg/patterns/combobox/

import { $, $$, setAttribute } from "./dom.js";

export class Choices {
  /** `name` begins the ids of the options. */
  constructor(field, list, name) {
    Object.assign(this, { field, list, name });
    list.addEventListener("pointermove", (event) => this.choose(event.target.closest("[role=option]")));
  }

  get options() {
    return $$("[role=option]", this.list);
  }

  get chosen() {
    return $('[aria-selected="true"]', this.list);
  }

  /** Shows these elements, options or groups of them; the first option is chosen. */
  show(elements) {
    this.list.replaceChildren(...elements);
    this.options.forEach((element, place) => (element.id = `${this.name}-${place}`));
    this.choose(this.options[0] ?? null);
  }

  choose(element) {
    if (!element && this.options.length) return;
    const before = this.chosen;
    if (before && before !== element) before.setAttribute("aria-selected", "false");
    element?.setAttribute("aria-selected", "true");
    setAttribute(this.field, "aria-activedescendant", element?.id ?? null);
  }

  /** One further, or back; behind the last comes the first. */
  step(by) {
    const { options } = this;
    if (!options.length) return;
    const next = options[(options.indexOf(this.chosen) + by + options.length) % options.length];
    this.choose(next);
    next.scrollIntoView({ block: "nearest" });
  }
}

/** Which way an arrow leads: 1, -1 or, for other keys, 0. */
export const stepOf = ({ key }) => ({ ArrowDown: 1, ArrowUp: -1 })[key] ?? 0;

/** An element of a list; `name` may be "a". */
export function option(name, className, ...parts) {
  const element = Object.assign(document.createElement(name), { className });
  element.setAttribute("role", "option");
  element.setAttribute("aria-selected", "false");
  element.append(...parts);
  return element;
}

/** A line of text in it. */
export function line(className, text = "", name = "div") {
  const element = Object.assign(document.createElement(name), { className, textContent: text });
  if (name === "div") element.dir = "auto";
  return element;
}

/** What an address says as JSON; null where it could not be had, or is not wanted any more. */
export async function jsonAt(address, signal) {
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" }, signal });
    return answer.ok && !answer.redirected ? await answer.json() : null;
  } catch {
    return null;
  }
}
