// One command by POST: the way of the event stream, and of texts that are too long for a frame of a socket.

/** The token that proves that a form or a command is ours. Signing in anew, in another tab, changes it. */
export function csrfToken(form = globalThis.document?.querySelector('[name="csrfmiddlewaretoken"]')) {
  const cookie = /(?:^|; )csrftoken=([^;]+)/.exec(globalThis.document?.cookie ?? "");
  return cookie?.[1] ?? form?.value ?? "";
}

/** The answer, as an event; null where none came and the command has to be sent again. */
export async function post(address, command, { fetch = globalThis.fetch, token = csrfToken() } = {}) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    body: JSON.stringify(command),
  }).catch(() => null);
  if (!answer) return null;
  const said = await answer.json().catch(() => null);
  const { ref, client_id } = command;
  if (said?.type) return { ref, client_id, ...said };
  // A proxy whose server is away will pass it on later; anything else says no for good.
  if (answer.ok || answer.status >= 500) return null;
  const refused = answer.status === 413 ? ["too_large", "This is more than a command can be."] : ["forbidden", "Reload the page, and send it again."];
  return { type: "command_refused", ref, client_id, code: refused[0], detail: refused[1] };
}
