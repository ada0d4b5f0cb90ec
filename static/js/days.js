// Under which heading a conversation stands, counted in the days of the reader's own clock. Pure. The server groups alike,
// in its own time zone, for pages without scripts.

/** `{key}` of words.js, or `{month}` as a date. */
export function headingOf(updated, now) {
  const age = Math.round((startOfDay(now) - startOfDay(updated)) / 86_400_000);
  if (age <= 0) return { key: "today" };
  if (age === 1) return { key: "yesterday" };
  if (age < 7) return { key: "week" };
  if (age < 30) return { key: "month" };
  return { month: new Date(updated.getFullYear(), updated.getMonth(), 1) };
}

const startOfDay = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
