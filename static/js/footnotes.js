// Footnotes: `[^1]` and, on a line of its own, `[^1]: what it says`. A mark is one wherever it stands, and a note stays where
// it was written: in a text that grows, what has been shown is never numbered anew. Pure.

const LABEL = String.raw`\[\^(\d{1,4}|\p{L}[\p{L}\d]+(?:[-_][\p{L}\d]{2,}){0,5})\]`; // "[^a-z]" is none
const MARK = new RegExp(`^${LABEL}`, "u");
const NOTE = new RegExp(`^${LABEL}:(?=[ \\t]|$)`, "u");
const LONGEST = 100;

export function withFootnotes(md) {
  const { escapeHtml } = md.utils;
  md.inline.ruler.before("link", "footnote_mark", mark);
  md.block.ruler.before("reference", "footnote", note, { alt: ["paragraph", "reference"] });
  md.renderer.rules.footnote_mark = (tokens, index) => `<sup class="footnote-mark">${escapeHtml(tokens[index].content)}</sup>`;
  md.renderer.rules.footnote_open = (tokens, index) => `<div class="footnote"><sup>${escapeHtml(tokens[index].info)}</sup>\n`;
  md.renderer.rules.footnote_close = () => "</div>\n";
  return md;
}

function mark(state, silent) {
  const found = state.src[state.pos] === "[" && MARK.exec(state.src.slice(state.pos, Math.min(state.pos + LONGEST, state.posMax)));
  if (!found) return false;
  if (!silent) state.push("footnote_mark", "sup", 0).content = found[1];
  state.pos += found[0].length;
  return true;
}

/** A container as an item of a list is one: what follows belongs to it while it is indented. */
function note(state, startLine, endLine, silent) {
  const begin = state.bMarks[startLine] + state.tShift[startLine];
  const found = state.sCount[startLine] - state.blkIndent < 4 && state.src[begin] === "[" && NOTE.exec(state.src.slice(begin, Math.min(begin + LONGEST, state.eMarks[startLine])));
  if (!found) return false;
  if (silent) return true;
  const open = state.push("footnote_open", "div", 1);
  open.info = found[1];
  open.map = [startLine, startLine];
  const kept = { bMarks: state.bMarks[startLine], tShift: state.tShift[startLine], sCount: state.sCount[startLine] };
  const { parentType, tight } = state;
  const text = begin + found[0].length;
  const blanks = /^[ \t]*/.exec(state.src.slice(text, state.eMarks[startLine]))[0].length;
  state.bMarks[startLine] = text;
  state.tShift[startLine] = blanks;
  state.blkIndent += 4;
  state.sCount[startLine] = state.blkIndent;
  state.parentType = "footnote";
  state.md.block.tokenize(state, startLine, endLine, true);
  state.blkIndent -= 4;
  Object.assign(state, { parentType, tight });
  for (const [name, value] of Object.entries(kept)) state[name][startLine] = value;
  open.map[1] = state.line;
  state.push("footnote_close", "div", -1);
  return true;
}
