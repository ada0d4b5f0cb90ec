// Menus close when one looks elsewhere; the colours are chosen in one of them; and the list of conversations comes and goes.

import { $, $$, onAct, setAttribute } from "./dom.js";
import { keepSetting, keptSetting } from "./store.js";

const root = document.documentElement;
const isPhone = () => matchMedia("(max-width: 52rem)").matches;

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
  for (const dialog of $$("dialog")) onAct(dialog, { cancel: () => dialog.close() });
  bindTheme();
  bindDrawer();
}

/** A sheet that would leave its list at the bottom opens upward. */
function placeSheet({ target }) {
  if (!target.matches?.(".sidebar-list details.menu[open]")) return;
  const room = $(".sidebar-list").getBoundingClientRect().bottom - target.getBoundingClientRect().bottom;
  target.classList.toggle("up", room < 110);
}

function bindTheme() {
  const choice = $("[data-theme-choice]");
  if (!choice) return;
  const show = () => {
    const theme = keptSetting("theme") ?? "system";
    for (const button of $$("button", choice)) setAttribute(button, "aria-pressed", String(button.value === theme));
  };
  choice.addEventListener("click", (event) => {
    const theme = event.target.closest("button")?.value;
    if (!theme) return;
    keepSetting("theme", theme === "system" ? "" : theme);
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    show();
  });
  show();
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
}
