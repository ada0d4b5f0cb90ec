// Deleting a message with all that follows it: asks first, and says how much that is.

import { $, setText } from "./dom.js";
import { say, sayNumber, toast } from "./words.js";

/** `act` is told the command, once somebody wants it. */
export async function askToDelete(view, act) {
  const dialog = $("#branch-dialog");
  const { id } = view.message;
  const answer = await fetch(`${dialog.dataset.url}?message=${id}`).catch(() => null);
  if (!answer?.ok) return toast(say("offline"));
  const { messages } = await answer.json();
  setText($("p", dialog), messages === 1 ? say("delete_one") : say("delete_many", { count: sayNumber(messages) }));
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "delete") return;
    view.element.previousElementSibling?.focus({ preventScroll: true }); // what had the focus goes
    act({ type: "delete_branch", message: id });
  };
  dialog.showModal();
}
