// Where in a text the hits of a search are. Pure.

/** Cuts a text into `{text, hit}`; `marks` are the places of the hits, from and to, in code points. */
export function partsOf(text, marks) {
  const characters = [...text];
  const parts = [];
  let place = 0;
  const cut = (end, hit) => {
    if (end > place) parts.push({ text: characters.slice(place, end).join(""), hit });
    place = Math.max(place, end);
  };
  for (const [start, end] of marks) {
    cut(start, false);
    cut(end, true);
  }
  cut(characters.length, false);
  return parts;
}
