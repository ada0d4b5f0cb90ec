// What a tab knows of one conversation, and what an event makes of it. Pure: no DOM, no clock, no socket.
//
//     const [next, toDo] = apply(transcript, event)
//
// `toDo` holds commands for the server (`sync`) and one order for the page: `{type: "verify", reply, sha256}`.
// States are never changed in place, so a component may compare them with `===`.

import { appendDelta, codePoints, growingFrom, takeSnapshot } from "./growing.js";
import { confirmWish, isOwnWish, settleWish } from "./wishes.js";

const RUNNING = new Set(["queued", "streaming"]);

/** A status that this page does not know is an end: nothing that it could offer would be right. */
export const hasEnded = (message) => !RUNNING.has(message.status);

export function emptyTranscript() {
  return {
    version: 0,
    conversation: null,
    you: null,
    members: [],
    messages: new Map(), // id → message as on the wire
    families: new Map(), // parent id or "" → ids of its children, oldest first
    growing: new Map(), // id of a reply → its text so far and how far that goes, see growing.js
    wishes: [], // commands with a client_id that the server has not yet confirmed, see wishes.js
    top: null, // the oldest message of the loaded window
    older: false, // the server has more above `top`
    lost: false, // a branch is shown that this tab was never told: only a snapshot helps
    asked: "", // the last sync asked for, so that a burst of late events asks once
    misfits: 0, // events since then that did not fit either
  };
}

export function apply(state, event) {
  const handle = Object.hasOwn(events, event.type) ? events[event.type] : null;
  if (!handle) return [state, []];
  const versioned = event.version !== undefined && event.type !== "conversation_snapshot";
  if (versioned && event.version <= state.version) return [state, []];
  if (versioned && event.version > state.version + 1) return sync(state, { version: state.version });
  return handle(versioned ? { ...state, version: event.version } : state, event);
}

/** The shown branch, oldest first: whole messages with the text that has arrived so far. */
export function shownMessages(state) {
  return shownPath(state).map((id) => messageOf(state, id));
}

/** Whether the server has more of the shown branch above what is loaded. */
export function hasOlder(state) {
  const first = state.messages.get(shownPath(state)[0]);
  return state.older && !!first?.parent;
}

export function messageOf(state, id) {
  const message = state.messages.get(id);
  const siblings = state.families.get(message.parent ?? "") ?? [id];
  const growing = state.growing.get(id);
  if (!growing) return message.siblings === siblings ? message : { ...message, siblings };
  const { text, reasoning, status, waiting } = growing;
  const ended = hasEnded(message);
  return { ...message, siblings, text, reasoning, status: ended ? message.status : status, waiting, partial: ended };
}

/** Where this tab stands, as the server reads it: the version, and how far it holds the texts that are not whole yet; nowhere, to be told anew. */
export function placeOf({ version, growing, lost }) {
  if (lost) return "";
  const begun = [...growing].filter(([, { status, length }]) => status !== "queued" || length !== undefined);
  return [version, ...begun.map(([id, { text_end, reasoning_end }]) => `${id}.${text_end}.${reasoning_end}`)].join(",");
}

/** The running reply of the shown branch, if there is one: what Stop stops. */
export function runningReply(state) {
  return shownMessages(state).findLast((message) => message.role === "assistant" && !hasEnded(message)) ?? null;
}

/** The state as a snapshot of the protocol: what the golden logs compare. */
export function toSnapshot(state) {
  const { version, conversation, you, members } = state;
  const replies = [];
  for (const [id, { status, text, reasoning, text_end, reasoning_end }] of state.growing) {
    replies.push({ reply: id, status, text, reasoning, text_end, reasoning_end });
  }
  const messages = shownMessages(state).map(({ waiting, partial, ...message }) => message);
  return { type: "conversation_snapshot", protocol: 1, version, conversation, you, members, messages, replies, more: hasOlder(state) };
}

function shownPath(state) {
  const path = [];
  for (let id = state.conversation?.head; id && state.messages.has(id); id = state.messages.get(id).parent) {
    path.push(id);
    if (id === state.top) break;
  }
  return path.reverse();
}

const events = {
  conversation_snapshot(state, event) {
    if (event.version < state.version) return [state, []];
    const same = event.version === state.version;
    const next = {
      ...state,
      version: event.version,
      conversation: event.conversation,
      you: event.you ?? state.you,
      members: event.members ?? state.members,
      messages: same ? new Map(state.messages) : new Map(),
      families: same ? new Map(state.families) : new Map(),
      growing: new Map(),
      top: event.messages[0]?.id ?? null,
      older: event.more ?? false,
      lost: false,
      asked: "",
      misfits: 0,
    };
    for (const message of event.messages) takeMessage(next, message, state);
    for (const reply of event.replies ?? []) {
      next.growing.set(reply.reply, takeSnapshot(state.growing.get(reply.reply) ?? growingFrom({}), reply));
    }
    next.wishes = event.messages.reduce(settleWish, state.wishes);
    return [next, []];
  },

  message_created(state, event) {
    const { message } = event;
    const next = { ...state, messages: new Map(state.messages), families: new Map(state.families), growing: new Map(state.growing) };
    const family = state.families.get(message.parent ?? "") ?? [];
    takeMessage(next, { ...message, siblings: message.siblings ?? [...family.filter((id) => id !== message.id), message.id] }, state);
    next.wishes = settleWish(state.wishes, message);
    if (!state.top && !message.parent) next.top = message.id;
    return event.head ? showHead(next, event.head) : [next, []];
  },

  message_changed(state, event) {
    const known = state.messages.get(event.message.id);
    if (!known) return [state, []];
    const next = { ...state, messages: new Map(state.messages), families: new Map(state.families) };
    const { length, reasoning_length, text_end, reasoning_end, ...changed } = event.message;
    // Of a long text only the beginning comes along, and it is here in full or on its way.
    const { text, reasoning } = length === undefined ? changed : known;
    remember(next, { ...known, ...changed, text: text ?? known.text, reasoning: reasoning ?? known.reasoning });
    return [next, []];
  },

  /** What the reader herself thinks of a reply, said in this tab or another. */
  feedback_changed(state, { message: id, value }) {
    const message = state.messages.get(id);
    if (!message || (message.feedback ?? null) === (value || null)) return [state, []];
    return [{ ...state, messages: new Map(state.messages).set(id, { ...message, feedback: value || null }) }, []];
  },

  conversation_changed(state, { type, version, head, members, removed, ...changed }) {
    const next = { ...(removed ? without(state, removed) : state), members: members ?? state.members };
    next.conversation = { ...state.conversation, ...changed };
    return head === undefined ? [next, []] : showHead(next, head);
  },

  reply_delta(state, event) {
    const growing = state.growing.get(event.reply);
    if (!growing) {
      const known = state.messages.get(event.reply);
      return known && hasEnded(known) ? [state, []] : sync(state, { version: state.version });
    }
    const grown = appendDelta(growing, event);
    if (grown === growing) return [state, []];
    if (!grown) return sync(state, positionsOf(event.reply, growing));
    return keepGrowth(state, event.reply, grown);
  },

  reply_snapshot(state, event) {
    const message = state.messages.get(event.reply);
    const growing = state.growing.get(event.reply);
    if (!growing && message && hasEnded(message)) return [state, []];
    return keepGrowth(state, event.reply, takeSnapshot(growing ?? growingFrom({}), event));
  },

  reply_waiting(state, { reply, reason, until }) {
    const growing = state.growing.get(reply);
    if (!growing) return [state, []];
    return [withGrowing(state, reply, { ...growing, waiting: { reason, until } }), []];
  },

  reply_ended(state, { type, reply, length, sha256, version, ...ending }) {
    const message = state.messages.get(reply);
    const growing = state.growing.get(reply) ?? (message && growingFrom(message));
    if (!growing) return [state, []];
    const next = { ...state, messages: new Map(state.messages) };
    if (message) next.messages.set(reply, { ...message, ...ending });
    const ended = { ...growing, status: ending.status, waiting: null, length, sha256 };
    const [kept, toDo] = keepGrowth(next, reply, ended);
    // What was asked for earlier may have been answered before the end was there: ask in any case.
    return ended.text_end < length ? sync({ ...kept, asked: "" }, positionsOf(reply, ended)) : [kept, toDo];
  },

  // From here on: what the page itself tells. None of it is on the wire.

  /** The text of an ended reply has another hash than the server's: fetch it anew, and show the old one until then. */
  reply_doubted(state, { reply, length }) {
    const message = state.messages.get(reply);
    const growing = { ...growingFrom({ ...message, text: "" }), reasoning_end: codePoints(message.reasoning), length };
    return sync(withGrowing(state, reply, growing), positionsOf(reply, growing));
  },

  older_messages(state, { messages, more }) {
    const oldest = state.messages.get(shownPath(state)[0]);
    if (messages.length === 0) return [{ ...state, older: false }, []];
    if (messages.at(-1).id !== oldest?.parent) return [state, []];
    const next = { ...state, messages: new Map(state.messages), families: new Map(state.families), top: messages[0].id, older: more };
    for (const message of messages) remember(next, message);
    return [next, []];
  },

  wish_made: (state, { wish }) => [{ ...state, wishes: [...state.wishes.filter((other) => other.client_id !== wish.client_id), wish] }, []],
  wish_dropped: (state, { client_id }) => [{ ...state, wishes: state.wishes.filter((wish) => wish.client_id !== client_id) }, []],

  command_done(state, { client_id }) {
    return [isOwnWish(state.wishes, client_id) ? { ...state, wishes: confirmWish(state.wishes, client_id) } : state, []];
  },

  command_refused(state, { client_id, code, detail }) {
    const refuse = (wish) => (wish.client_id === client_id ? { ...wish, refused: { code, detail } } : wish);
    return [isOwnWish(state.wishes, client_id) ? { ...state, wishes: state.wishes.map(refuse) } : state, []];
  },

  /** A new connection has no memory of what the old one was asked; it goes on from `placeOf`. */
  connected: (state) => [{ ...state, asked: "", misfits: 0 }, []],
};

/** A message comes whole, or grows: a reply that runs, or a long text of which an event brings the beginning. */
function takeMessage(next, { length, reasoning_length, text_end, reasoning_end, ...message }, state) {
  const { id } = message;
  const held = state.messages.get(id);
  const isHeld = held && !state.growing.has(id) && codePoints(held.text) === length;
  remember(next, isHeld ? { ...message, text: held.text, reasoning: held.reasoning } : message);
  if (length !== undefined && !isHeld) {
    const growing = takeSnapshot(state.growing.get(id) ?? growingFrom(message), { ...message, text_end, reasoning_end });
    next.growing.set(id, { ...growing, length, reasoning_length });
  } else if (message.role === "assistant" && !hasEnded(message)) {
    next.growing.set(id, growingFrom(message));
  }
}

function remember(state, message) {
  state.messages.set(message.id, message);
  if (!message.siblings) return;
  state.families.set(message.parent ?? "", message.siblings);
}

/** The state without a message and all that follows it, as far as they are known. */
function without(state, removed) {
  const gone = new Set([removed]);
  for (const id of gone) for (const child of state.families.get(id) ?? []) gone.add(child);
  const remaining = (known) => new Map([...known].filter(([id]) => !gone.has(id)));
  const families = remaining(state.families);
  for (const [parent, ids] of families) if (ids.includes(removed)) families.set(parent, ids.filter((id) => id !== removed));
  return { ...state, messages: remaining(state.messages), growing: remaining(state.growing), families, top: gone.has(state.top) ? null : state.top };
}

function showHead(state, head) {
  const next = { ...state, conversation: { ...state.conversation, head } };
  if (head === null) return [{ ...next, older: false }, []]; // nothing is left
  const first = shownPath(next)[0];
  const whole = first !== undefined && (first === state.top || !state.messages.get(first).parent);
  return whole ? [next, []] : sync({ ...state, lost: true }, {}); // the old branch stays on the page until the snapshot comes
}

function withGrowing(state, reply, growing) {
  return { ...state, growing: new Map(state.growing).set(reply, growing) };
}

/** Keeps what has grown, and moves it into the message once an ended reply is there in full. */
function keepGrowth(state, reply, growing) {
  const { length, sha256 } = growing;
  const grown = withGrowing(state, reply, growing);
  if (length === undefined || !isWhole(growing)) return [grown, []];
  grown.growing.delete(reply);
  if (!state.messages.has(reply)) return [grown, []];
  const { text, reasoning } = growing;
  const message = { ...state.messages.get(reply), text, reasoning };
  const next = { ...grown, messages: new Map(state.messages).set(reply, message) };
  if (growing.text_end > length) return events.reply_doubted(next, { reply, length });
  return [next, sha256 ? [{ type: "verify", reply, sha256, length }] : []];
}

const isWhole = ({ text_end, length, reasoning_end, reasoning_length = 0 }) => text_end >= length && reasoning_end >= reasoning_length;

const positionsOf = (reply, { text_end, reasoning_end }) => ({ replies: { [reply]: { text: text_end, reasoning: reasoning_end } } });

/** Asks once for each place; should the answer not come, again after fifty events that do not fit. */
function sync(state, from) {
  const asked = JSON.stringify(from);
  const misfits = state.asked === asked ? state.misfits + 1 : 0;
  return [{ ...state, asked, misfits }, misfits % 50 === 0 ? [{ type: "sync", ...from }] : []];
}
