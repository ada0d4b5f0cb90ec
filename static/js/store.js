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
  set(key, value) {
    try {
      if (value) localStorage.setItem(key, value);
      else localStorage.removeItem(key);
    } catch {
      // a draft less
    }
  },
};

export const keepSetting = (name, value) => kept.set(`parley:${name}`, value);
export const keptSetting = (name) => kept.get(`parley:${name}`);

export const keepDraft = (user, conversation, text) => kept.set(`parley:draft:${user}:${conversation}`, text);
export const keptDraft = (user, conversation) => kept.get(`parley:draft:${user}:${conversation}`) ?? "";

export function keepWishes(user, conversation, wishes) {
  const unconfirmed = wishes.filter((wish) => !wish.confirmed);
  kept.set(`parley:wishes:${user}:${conversation}`, unconfirmed.length > 0 ? JSON.stringify(unconfirmed) : "");
}

export function keptWishes(user, conversation) {
  try {
    const wishes = JSON.parse(kept.get(`parley:wishes:${user}:${conversation}`) ?? "[]");
    return Array.isArray(wishes) ? wishes : [];
  } catch {
    return [];
  }
}

/** An id of our own for a command; `crypto.randomUUID` is only there on secure addresses. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
