// The page comes to life: events go into the transcript, the transcript goes to the views, and what people do goes to the server.

import { addressesOf } from "./addresses.js";
import { ConnectionBanner } from "./banner.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { $, onAct, readJson } from "./dom.js";
import { bindHelp, bindKeys } from "./keys.js";
import { bindMenus } from "./menu.js";
import { Palette } from "./palette.js";
import { mayReload } from "./schedule.js";
import { Sidebar } from "./sidebar.js";
import { tab } from "./store.js";
import { takeStep } from "./words.js";

const { toggleSide } = bindMenus();
const palette = new Palette($("#palette"), $("#sidebar").dataset);
const showKeys = bindHelp();

const snapshot = readJson("snapshot");
const limits = readJson("limits");
const composerForm = $("#composer");

const leaving = {
  reload: () => location.reload(),
  reloadOnce,
  sign_in: () => location.assign(location.href), // the server asks to sign in, and leads back here
  leave: () => location.assign("/"),
};

/** The page is older than the server: whether it is on its way to the new one. */
function reloadOnce() {
  const now = Date.now();
  if (!mayReload(Number(tab.get("reloaded") ?? -Infinity), now) || !tab.set("reloaded", String(now))) return false;
  location.reload();
  return true;
}

onAct($("#sidebar"), {
  search(link, event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // the page of the search, in a tab of its own
    event.preventDefault();
    palette.open();
  },
});
bindKeys({
  "Mod+k": () => palette.open(),
  "Mod+/": showKeys,
  "Mod+Shift+o": () => location.assign("/"),
  "Mod+Shift+s": toggleSide,
  "Mod+z": ({ target }) => !target.value && takeStep(),
  "Shift+Escape": () => $("#text")?.focus() ?? false,
});

if (snapshot) {
  import("./conversation.js").then(({ Conversation }) => {
    new Conversation({ snapshot, limits, composerForm, leaving }).start();
    sayAlive();
  });
} else {
  startPageWithout();
  sayAlive();
  addEventListener("load", () => setTimeout(() => import("./conversation.js"), 3000)); // what the next page will want
}

/** A page that shows no conversation: a form, if it has one, is sent as any form; the socket only keeps the list at the side live. */
function startPageWithout() {
  const user = $("#sidebar").dataset.user;
  const composer = composerForm && new Composer(composerForm, { limits, user, conversation: "new" });
  const sidebar = new Sidebar($("#sidebar"), { current: null });
  sidebar.startBehindDeleted();
  const banner = new ConnectionBanner($("#connection"), { ...leaving, now: () => connection.hurry() });
  let before = false;
  const connection = new Connection({
    addresses: addressesOf({}),
    onOpen() {
      if (before) sidebar.refetch();
      before = true;
    },
    onEvent: (event) => event.type === "sidebar_changed" && sidebar.receive(event),
    onState: (state) => (state.action === "reload" && (composer?.isKept ?? true) && reloadOnce()) || banner.update(state),
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload()); // come back to: the form has been sent
  onAct($("#main"), { suggest: (button) => composer.setText(button.textContent) });
  connection.start();
}

/** For whoever drives the page from outside: from here on keys and buttons do what the scripts make of them. */
function sayAlive() {
  document.documentElement.dataset.alive = "";
}
