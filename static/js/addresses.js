// Where a page connects to. Pure: the place it stands at is asked for anew each time.

export const PROTOCOL = 1; // what this page speaks

/** The addresses for a conversation, or without an id for a page that shows none. `place()` is what is held. */
export function addressesOf({ id = null, place = () => "", location = globalThis.location }) {
  const sockets = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}`;
  const path = id ? `/conversations/${id}` : "";
  const from = (held) => `?protocol=${PROTOCOL}${held ? `&version=${held}` : ""}`;
  return {
    socket: () => `${sockets}/ws${path || "/me"}/${from(place())}`,
    events: (wholly) => `${path}/events/${from(wholly ? "" : place())}`,
    commands: `${path}/commands/${from("")}`,
    feedback: `${path}/feedback/`,
    trial: `${sockets}/ws/me/${from("")}`,
  };
}
