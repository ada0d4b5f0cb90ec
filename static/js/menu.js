// Menus close when one looks elsewhere; how the page looks is chosen in one of them; and the list of conversations comes and goes.

import { $, $$, onAct, setAttribute } from "./dom.js";
import { keepSetting, keptSetting } from "./store.js";
import { bindSwipes } from "./swipe.js";

const root = document.documentElement;
const isPhone = () => matchMedia("(max-width: 52rem)").matches;

/** `toggleSide()` shows or hides the list of conversations. */
export function bindMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of $$("details.menu[open]")) {
      menu.open = false;
      $("summary", menu).focus();
      event.stopImmediatePropagation();
    }
  });
  document.addEventListener("toggle", placeSheet, true);
  addEventListener("resize", () => $$(OF_MESSAGES).forEach(placeInWindow)); // a phone that is turned
  for (const dialog of $$("dialog")) onAct(dialog, { cancel: () => dialog.close() });
  bindChoices();
  return { toggleSide: bindDrawer() };
}

const OF_MESSAGES = ".message-tools details.menu[open]";

/** A sheet that would leave its list at the bottom opens upward; that of a message where there is more room, and within the window. */
function placeSheet({ target }) {
  if (target.matches?.(".sidebar-list details.menu[open]")) {
    const room = $(".sidebar-list").getBoundingClientRect().bottom - target.getBoundingClientRect().bottom;
    target.classList.toggle("up", room < 110);
  } else if (target.matches?.(OF_MESSAGES)) {
    requestAnimationFrame(() => placeInWindow(target)); // it is filled as it opens
  }
}

function placeInWindow(menu) {
  const sheet = $(".menu-sheet", menu);
  const { left, top, bottom } = menu.getBoundingClientRect();
  const above = top - $(".page-head").getBoundingClientRect().bottom;
  const below = $(".page-foot").getBoundingClientRect().top - bottom;
  menu.classList.toggle("up", above > below || above > sheet.offsetHeight + 8);
  sheet.style.left = `${Math.min(root.clientWidth - 8 - left - sheet.offsetWidth, 0)}px`;
}

/** Colours, size of the text, the key that sends: kept by this browser, and told to all styles and scripts by the root. */
function bindChoices() {
  for (const choice of $$("[data-choice]")) {
    const name = choice.dataset.choice;
    const usual = $("button", choice).value;
    const show = () => {
      const chosen = keptSetting(name) ?? usual;
      for (const button of $$("button", choice)) setAttribute(button, "aria-pressed", String(button.value === chosen));
    };
    choice.addEventListener("click", (event) => {
      const value = event.target.closest("button")?.value;
      if (!value) return;
      keepSetting(name, value === usual ? "" : value);
      if (value === usual) delete root.dataset[name];
      else root.dataset[name] = value;
      show();
    });
    show();
  }
}

function bindDrawer() {
  const opener = $('[data-act="open-side"]');
  const page = $("#page");

  function set(open) {
    if (isPhone()) {
      root.classList.toggle("drawer-open", open);
      page.inert = open;
    } else {
      keepSetting("side", open ? "" : "closed");
      if (open) delete root.dataset.side;
      else root.dataset.side = "closed";
    }
    setAttribute(opener, "aria-expanded", String(open));
    (open ? $('[data-act="close-side"]') : opener).focus();
  }

  onAct(document.body, { "open-side": () => set(true), "close-side": () => set(false) });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && root.classList.contains("drawer-open")) set(false);
  });
  matchMedia("(max-width: 52rem)").addEventListener("change", () => {
    root.classList.remove("drawer-open");
    page.inert = false;
  });
  const isOpen = () => (isPhone() ? root.classList.contains("drawer-open") : root.dataset.side !== "closed");
  bindSwipes({ isOpen, open: () => isPhone() && set(true), close: () => isPhone() && set(false) });
  return () => set(!isOpen());
}
