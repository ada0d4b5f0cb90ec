// Which transport to use: the socket, or the event stream where something on the way lets no socket through. Pure: what
// happened and the time are arguments, the choice is never changed in place.
//
// Sockets count as blocked when two of them in a row came to nothing and an event stream from the same server opens. An
// event stream works everywhere and costs more, so sockets are looked at again, in the background.

const ENOUGH = 2; // failures in a row
const YOUNG = 5_000; // a socket that is cut so soon has not worked, whatever it had brought
const LOOK = 60_000; // after that long sockets are looked at again,
const LONGEST_LOOK = 900_000; // and then half as often each time

export const freshChoice = { kind: "socket", failures: 0, looks: 0, lookAt: null };

/**
 * A socket has closed: it `lived` for so many milliseconds, or null if not a word came through; `late` if something was
 * waited for in vain. A code of our own server's shows that sockets come through.
 */
export function afterSocket(choice, { lived, late, code }) {
  const said = code >= 4000 || code === 1012 || code === 1013;
  if (said || (lived !== null && lived >= YOUNG)) return freshChoice;
  const failures = choice.failures + (late ? ENOUGH : 1);
  return { ...choice, failures, kind: failures >= ENOUGH ? "stream" : "socket" };
}

/** The server is there, and sockets are not. */
export function streamOpened(choice, now) {
  return { ...choice, lookAt: choice.lookAt ?? now + waitBefore(choice.looks) };
}

/** An event stream has closed. One that never opened says that the fault is not with sockets: they have their turn. */
export function afterStream(choice, { lived }) {
  return lived === null ? { ...choice, kind: "socket", failures: ENOUGH - 1 } : choice;
}

/** Sockets were looked at again. */
export function afterLook(choice, works, now) {
  if (works) return freshChoice;
  const looks = choice.looks + 1;
  return { ...choice, looks, lookAt: now + waitBefore(looks) };
}

/** How long a trial socket has to live to have worked. */
export const TRIAL = YOUNG;

/** What the next page in this tab has to know, or nothing. */
export const textOf = ({ kind, looks, lookAt }) => (kind === "stream" && lookAt ? JSON.stringify({ looks, lookAt }) : "");

export function choiceFrom(text, now) {
  try {
    const { looks, lookAt } = JSON.parse(text);
    if (!(looks >= 0 && lookAt <= now + LONGEST_LOOK)) return freshChoice;
    return { kind: "stream", failures: ENOUGH, looks, lookAt };
  } catch {
    return freshChoice;
  }
}

const waitBefore = (looks) => Math.min(LOOK * 2 ** looks, LONGEST_LOOK);
