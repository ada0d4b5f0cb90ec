// The page comes to life: events go into the transcript, the transcript goes to the views, and what people do goes to the server.

import { addressesOf } from "./addresses.js";
import { ConnectionBanner } from "./banner.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { $, onAct, readJson } from "./dom.js";
import { bindMenus } from "./menu.js";
import { mayReload } from "./schedule.js";
import { Sidebar } from "./sidebar.js";
import { tab } from "./store.js";

bindMenus();

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

if (snapshot) {
  import("./conversation.js").then(({ Conversation }) => {
    new Conversation({ snapshot, limits, composerForm, leaving }).start();
    sayAlive();
  });
} else {
  startEmptyPage();
  sayAlive();
  addEventListener("load", () => setTimeout(() => import("./conversation.js"), 3000)); // what the next page will want
}

/** The page of a new conversation: its form is sent as any form; the socket only keeps the list at the side live. */
function startEmptyPage() {
  const user = $("#sidebar").dataset.user;
  const composer = new Composer(composerForm, { limit: limits.messageCharacters, user, conversation: "new" });
  const sidebar = new Sidebar($("#sidebar"), { current: null });
  const banner = new ConnectionBanner($("#connection"), { ...leaving, now: () => connection.hurry() });
  let before = false;
  const connection = new Connection({
    addresses: addressesOf({}),
    onOpen() {
      if (before) sidebar.refetch();
      before = true;
    },
    onEvent: (event) => event.type === "sidebar_changed" && sidebar.receive(event),
    onState: (state) => (state.action === "reload" && composer.isKept && reloadOnce()) || banner.update(state),
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload()); // come back to: the form has been sent
  onAct($("#main"), { suggest: (button) => composer.setText(button.textContent) });
  connection.start();
}

/** For whoever drives the page from outside: from here on keys and buttons do what the scripts make of them. */
function sayAlive() {
  document.documentElement.dataset.alive = "";
}
