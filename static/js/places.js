// Places to fill in, {{name}}, of a prompt that was inserted. Pure.

const PLACE = /\{\{[^{}\n]{1,60}\}\}/g;

const placesIn = (text) => [...text.matchAll(PLACE)].map(({ index, 0: { length } }) => ({ start: index, end: index + length }));

/** The first place at or behind `from`, or null. */
export const nextPlace = (text, from) => placesIn(text).find(({ start }) => start >= from) ?? null;

/** The last place that ends ahead of `before`, or null. */
export const placeBefore = (text, before) => placesIn(text).findLast(({ end }) => end <= before) ?? null;

const LONGEST_NAME = 60;

/** What is looked for by a text that begins with a slash; null where it is no name of a prompt, but something to send. */
export function wantedBy(text) {
  const isName = text.startsWith("/") && !text.includes("\n") && text.length <= LONGEST_NAME + 1;
  return isName ? text.slice(1).trim() : null;
}
