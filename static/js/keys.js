// What the keyboard does, wherever the focus is. What belongs to one part of the page (Enter, the arrows of a menu) is there.

import { $, $$, isComposing, onAct } from "./dom.js";

/** On a Mac it is ⌘ that the others call Ctrl. */
export const isMac = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? "");

/** The name of a key as it is pressed: "Mod+Shift+o", "Escape". Nothing for a key that an input method uses. Pure but for the platform. */
export function nameOf(event, mac = isMac) {
  if (isComposing(event) || event.altKey || (mac ? event.ctrlKey : event.metaKey)) return "";
  const mod = mac ? event.metaKey : event.ctrlKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isSign = key.length === 1 && !/[a-z]/.test(key); // some keyboards need Shift for a slash
  return [mod && "Mod", event.shiftKey && !isSign && "Shift", key].filter(Boolean).join("+");
}

/** Whether this key sends what is written: Enter or, for who has chosen that, only with Ctrl. */
export function sends(event, choice = globalThis.document?.documentElement.dataset.send) {
  if (isComposing(event) || event.key !== "Enter" || event.shiftKey || event.altKey) return false;
  return choice !== "mod" || !!(event.ctrlKey || event.metaKey);
}

/** Calls `actions[name](event)`; who returns false has not used the key. While a dialog is open it alone has the keyboard. */
export function bindKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const action = actions[nameOf(event)];
    if (!action || event.defaultPrevented || $("dialog[open]")) return;
    if (action(event) !== false) event.preventDefault();
  });
}

/** The list of keys, and the hints beside what they do. */
export function bindHelp() {
  const dialog = $("#keys-dialog");
  const open = () => dialog.showModal();
  const mod = isMac ? "⌘" : "Ctrl";
  for (const key of $$("kbd[data-mod]", dialog)) key.textContent = mod;
  for (const name of $$("[data-mod-key]")) name.textContent = mod;
  for (const hint of $$(".key-hint")) hint.textContent = `${mod} K`;
  for (const button of $$('[data-act="keys"]')) button.hidden = false;
  onAct(document.body, { keys: (button) => {
    button.closest("details").open = false;
    open();
  } });
  return open;
}
