// Marks that are half written at the end of a growing text: `**bo` is bold at once, `[a](htt` already reads "a", and of what may
// become anything nothing shows until more is there. All this only while `env.growing`, in the last line of text, and with the
// parser's own eyes: in code a star is a star. Pure.

const PATIENCE = 400; // characters after which a mark that nothing closes is taken for what it is

export function withMending(md) {
  const { inline, core } = md;
  core.ruler.at("inline", parseInlines);
  inline.ruler.after("escape", "open_escape", dropped(/^\\$/));
  inline.ruler.before("backticks", "open_code", openCode);
  inline.ruler.before("strikethrough", "open_tilde", dropped(/^~$/));
  inline.ruler.after("image", "open_link", openLink);
  inline.ruler.after("autolink", "open_address", dropped(/^<(?=h?$|ht{1,2}$|https?:?[^\s<>]*$)/));
  inline.ruler2.after("balance_pairs", "open_marks", closeMarks);
  return md;
}

/** As markdown-it does it, but tells the rules whether they are at the end that grows (`env.atEnd`). */
function parseInlines(state) {
  const { tokens, env, md } = state;
  const last = env.growing ? lastInline(state) : null;
  for (const token of tokens) {
    if (token.type !== "inline") continue;
    env.atEnd = token === last;
    md.inline.parse(token.content, md, env, token.children);
  }
  env.atEnd = false;
}

function lastInline({ tokens, src }) {
  const at = tokens.findLastIndex((token) => token.type === "inline" && token.content !== "");
  const over = tokens[at - 1]?.type === "paragraph_open" ? /\n[ \t]*\n[ \t]*$/ : /\n$/;
  const code = tokens.findLastIndex((token) => token.type === "fence" || token.type === "code_block" || token.type === "maths_block");
  return code > at || over.test(src) ? null : tokens[at];
}

const isAtEnd = (state) => state.env.atEnd && state.posMax === state.src.length;

/** A rule that leaves out what matches. */
function dropped(pattern) {
  return (state, silent) => {
    if (silent || !isAtEnd(state)) return false;
    const found = pattern.exec(state.src.slice(state.pos, state.pos + PATIENCE));
    if (found) state.pos += found[0].length;
    return !!found;
  };
}

function openCode(state, silent) {
  if (silent || !isAtEnd(state) || state.src[state.pos] !== "`") return false;
  const [mark] = /^`+/.exec(state.src.slice(state.pos));
  const code = state.src.slice(state.pos + mark.length);
  if (code.length > PATIENCE || (code.match(/`+/g) ?? []).includes(mark)) return false;
  const shown = code.replace(/`+$/, "").replaceAll("\n", " ");
  if (shown) state.push("code_inline", "code", 0).content = shown;
  state.pos = state.posMax;
  return true;
}

/** `[label`, `[label](addre`, `[label][na` and the same of images: the label shows. */
function openLink(state, silent) {
  if (silent || !isAtEnd(state)) return false;
  const [mark] = /^!?\[|^!$/.exec(state.src.slice(state.pos, state.pos + 2)) ?? [];
  if (!mark) return false;
  const begin = state.pos + mark.length;
  const rest = state.src.slice(begin);
  if (rest.length > PATIENCE || rest.includes("\n\n")) return false;
  const end = mark === "!" ? -1 : state.md.helpers.parseLinkLabel(state, begin - 1, false);
  if (end === -1) {
    state.pos = /^(\^\S*|[xX ])$/.test(rest) ? state.posMax : begin; // a footnote, a task
    return true;
  }
  if (!/^\]($|\([^)]*$|\[[^\]]*$)/.test(state.src.slice(end))) return false;
  if (!/^[xX ]$/.test(state.src.slice(begin, end))) {
    state.pos = begin;
    state.posMax = end;
    state.md.inline.tokenize(state);
    state.posMax = state.src.length;
  }
  state.pos = state.posMax;
  return true;
}

/** Closes what has been opened and not closed, and leaves out marks at the very end that have not taken effect. */
function closeMarks(state) {
  if (!isAtEnd(state)) return;
  const { delimiters, tokens } = state;
  const ends = new Set(delimiters.map(({ end }) => end));
  const isLoose = (delimiter, index) => delimiter.end === -1 && !ends.has(index);
  const loose = new Set(delimiters.filter(isLoose).map(({ token }) => token));
  let last = tokens.length - 1;
  for (; last >= 0 && (loose.has(last) || tokens[last].content === "") && tokens[last].type === "text"; last--) tokens[last].content = "";
  for (let index = delimiters.length - 1; index >= 0; index--) {
    const opener = delimiters[index];
    const isInside = delimiters.some(({ end }, before) => before < index && end > index);
    if (opener.open && opener.token <= last && isLoose(opener, index) && !isInside) close(state, opener);
  }
}

function close(state, opener) {
  const token = state.push("text", "", 0);
  token.content = state.tokens[opener.token].content;
  opener.end = state.delimiters.length;
  opener.close = false;
  state.delimiters.push({ ...opener, token: state.tokens.length - 1, end: -1, open: false, close: true });
}

/** What a whole line may still become: marks alone, the head of a table, an address of links. */
export function withoutHalfLines(source) {
  if (/^ {0,3}(`{3,}|~{3,}|\$\$|\\\[)/.test(source) || /^( {4}|\t)/.test(source)) return source;
  const line = source.slice(source.lastIndexOf("\n") + 1);
  if (MARKS_ALONE.test(line)) return source.slice(0, source.length - line.length);
  return source.replace(TABLE_HEAD, "$1").replace(DEFINITION, "$1");
}

const MARKS_ALONE = /^[ \t>]*([-*_+=~`#>]|\d+[.)]?|\$\$?|\\[[(]?)+[ \t]*$/;

/** The first row of a table is a paragraph until the row of dashes below it is there. */
const TABLE_HEAD = /(^|\n\n) {0,3}\|[^\n]*(\n {0,3}\|?[ \t:|-]*)?$/;
const DEFINITION = /(^|\n\n) {0,3}\[(?!\^)[^\]\n]+\]:[^\n]*$/;
