// What this browser keeps: drafts, and messages that have not been confirmed yet. Storage may be forbidden or full; then
// nothing is kept and everything else works.

const kept = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  keys(prefix) {
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
    } catch {
      return [];
    }
  },
  set(key, value) {
    try {
      if (value) localStorage.setItem(key, value);
      else localStorage.removeItem(key);
    } catch {
      // a draft less
    }
  },
};

/** What this tab keeps as long as it is open, also over a reload. */
export const tab = {
  get(name) {
    try {
      return sessionStorage.getItem(`parley:${name}`);
    } catch {
      return null;
    }
  },
  /** Whether it is kept. */
  set(name, value) {
    try {
      if (value) sessionStorage.setItem(`parley:${name}`, value);
      else sessionStorage.removeItem(`parley:${name}`);
      return true;
    } catch {
      return false;
    }
  },
};

const MOST_PLACES = 50;

/** Where this tab stood in each conversation, the newest last: `[conversation, {message, top}]`. */
function places() {
  try {
    const kept = JSON.parse(tab.get("places"));
    return Array.isArray(kept) ? kept.filter(Array.isArray) : [];
  } catch {
    return [];
  }
}

/** Keeps a place, of the fifty conversations that were seen last; without a place it is forgotten. */
export function keepPlace(conversation, place) {
  const others = places().filter(([id]) => id !== conversation);
  const kept = place ? [...others, [conversation, place]].slice(-MOST_PLACES) : others;
  tab.set("places", kept.length ? JSON.stringify(kept) : "");
}

export const keptPlace = (conversation) => places().find(([id]) => id === conversation)?.[1] ?? null;

export const keepSetting = (name, value) => kept.set(`parley:${name}`, value);
export const keptSetting = (name) => kept.get(`parley:${name}`);

export const keepDraft = (user, conversation, text) => kept.set(`parley:draft:${user}:${conversation}`, text);
export const keptDraft = (user, conversation) => kept.get(`parley:draft:${user}:${conversation}`) ?? "";

/** What a field begins with: the draft, and behind it what was typed before any script ran. */
export function withDraft(typed, draft) {
  if (draft.startsWith(typed)) return draft;
  return !draft || typed.startsWith(draft) ? typed : `${draft}\n${typed}`;
}

const wishKey = (user, conversation, id = "") => `parley:wish:${user}:${conversation}:${id}`;

/** Keeps what is not confirmed, and forgets what was. Each has a key of its own: other tabs keep theirs beside it. */
export function keepWishes(user, conversation, before, wishes) {
  const open = wishes.filter((wish) => !wish.confirmed);
  const settled = before.filter(({ client_id }) => !open.some((wish) => wish.client_id === client_id));
  for (const { client_id } of settled) kept.set(wishKey(user, conversation, client_id), "");
  for (const wish of open) kept.set(wishKey(user, conversation, wish.client_id), JSON.stringify(wish));
}

export function keptWishes(user, conversation) {
  return kept.keys(wishKey(user, conversation)).flatMap((key) => {
    try {
      return [JSON.parse(kept.get(key))];
    } catch {
      return [];
    }
  });
}

/** An id of our own for a command; `crypto.randomUUID` is only there on secure addresses. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
