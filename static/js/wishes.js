// Commands that make something (a message, a reply) carry a client_id of ours. They are kept until their message is
// seen, also over a reload, and sent again on every new socket: the same client_id twice is one message.

const KINDS = new Set(["send_message", "edit_message", "retry_reply", "continue_reply"]);

export const isWish = (command) => KINDS.has(command.type);

export const isOwnWish = (wishes, client_id) => client_id !== undefined && wishes.some((wish) => wish.client_id === client_id);

/** A message that has come is a wish less. */
export function settleWish(wishes, { client_id }) {
  return isOwnWish(wishes, client_id) ? wishes.filter((wish) => wish.client_id !== client_id) : wishes;
}

/** What is confirmed needs no second sending; a message stays on show until it comes as an event. */
export function confirmWish(wishes, client_id) {
  return wishes
    .map((wish) => (wish.client_id === client_id ? { ...wish, confirmed: true } : wish))
    .filter((wish) => !wish.confirmed || wish.type === "send_message");
}

/** What a new socket is told again: all that was neither refused nor confirmed. */
export const wishesToSend = (wishes) => wishes.filter((wish) => !wish.refused && !wish.confirmed).map(commandOf);

/** A wish as it goes on the wire, without what only this page knows. */
export function commandOf({ refused, confirmed, ...command }) {
  return command;
}
