// The times that sentences of the server name. Pure.

/** `{known, when}`: the sentence with `%(when)s` where it names a time, as the dictionary has it, and that time, or null. */
export function withoutTime(sentence) {
  const found = /(\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC/.exec(sentence);
  if (!found) return { known: sentence, when: null };
  return { known: sentence.replace(found[0], "%(when)s"), when: new Date(`${found[1]}T${found[2]}Z`) };
}
