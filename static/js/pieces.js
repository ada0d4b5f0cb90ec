// How an open block that has become long is taken apart: a list after an item, a table after a row, a paragraph after a word.
// What comes before is final and given out; the block goes on with the rest of its source. For that to be read as before, a
// *head* is put in front of it: an item for a list, two lines for a table, a word for a paragraph. `withPieces` takes the
// tokens of the head out again. Pure.

const HEAD_WORD = "x ";

/** Teaches the grammar to leave out the head of a piece that `env.piece` names. */
export function withPieces(md) {
  md.core.ruler.after("block", "piece_of_list", ({ tokens, env }) => env.piece?.kind === "list" && dropItem(tokens, env));
  md.core.ruler.after("inline", "piece_of_paragraph", ({ tokens, env }) => env.piece?.kind === "paragraph" && dropWord(tokens));
  return md;
}

/** The item of the head tells whether the list is tight: its paragraph is hidden then. */
function dropItem(tokens, env) {
  env.loose = !tokens[2].hidden;
  tokens.splice(1, tokens.findIndex((token) => token.type === "list_item_close"));
}

function dropWord(tokens) {
  const word = tokens[1]?.children?.[0];
  if (word?.content.startsWith(HEAD_WORD)) word.content = word.content.slice(HEAD_WORD.length);
}

/** Whether the source is still read as that which the piece belongs to. */
export function goesOn(piece, tokens, env) {
  return tokens[0]?.type === piece.type && (piece.kind !== "list" || env.loose === piece.loose);
}

/** Up to where the open block in `tokens` is final, the source of that, and how it goes on from there: `{cut, final, piece}`, or null. */
export function pieceOf(md, source, tokens, env, { loose, kept }) {
  const { type, map } = tokens[0] ?? {};
  if (map?.[0] !== 0) return null;
  if (type === "bullet_list_open" || type === "ordered_list_open") return pieceOfList(md, source, tokens, env, loose);
  if (type === "table_open") return pieceOfTable(source, tokens);
  return type === "paragraph_open" && tokens.length === 3 ? pieceOfParagraph(md, source, env, lineStarts(source)[map[1]] ?? source.length, kept) : null;
}

function pieceOfList(md, source, tokens, env, loose) {
  const cut = lastBeginning(source, tokens, (token) => token.type === "list_item_open" && token.level === 1);
  if (!cut) return null;
  const first = env.piece?.head ?? headOf(source, 0, tokens);
  if (env.piece) loose = env.piece.loose;
  else if (!loose) loose = isLoose(md, first + source, env);
  const withGap = (head) => (loose && !head.endsWith("\n\n") ? `${head}\n` : head);
  const piece = { kind: "list", type: tokens[0].type, loose, head: withGap(headOf(source, cut, tokens)) };
  return { cut, piece, final: env.piece ? source.slice(0, cut) : withGap(first) + source.slice(0, cut) };
}

/** An item like the one that begins there, and as far from the margin: what follows is another one and not within it. */
function headOf(source, at, tokens) {
  const [, space, bullet, delimiter] = /^( {0,3})(?:([-*+])|\d+([.)]))/.exec(source.slice(at, at + 20));
  return `${space}${bullet ?? `${tokens[0].attrGet("start") ?? 1}${delimiter}`} ${HEAD_WORD}\n`;
}

function isLoose(md, source, { references }) {
  const env = { references, growing: true, piece: { kind: "list" } };
  md.parse(source, env);
  return env.loose;
}

function pieceOfTable(source, tokens) {
  const cut = lastBeginning(source, tokens, (token) => token.type === "tr_open" && token.map?.[0] >= 2);
  if (!cut) return null;
  const head = source.slice(0, lineStarts(source)[2]);
  return { cut, piece: { kind: "table", type: "table_open", head }, final: source.slice(0, cut) };
}

/** Where the last of these begins whose first line is complete, unless it is the only one. */
function lastBeginning(source, tokens, isOne) {
  const lines = lineStarts(source);
  const complete = tokens.filter((token) => isOne(token) && lines[token.map[0] + 1] !== undefined);
  return complete.length > 1 ? lines[complete.at(-1).map[0]] : null;
}

/** After a blank or a Chinese full stop and before a letter: no mark reads differently for being cut off there. */
const BETWEEN_WORDS = /(?:[ \n]|[。！？；，])(?=[\p{L}\p{N}])/gu;

/** Of a paragraph up to `over`. The last `kept` characters stay open: marks may be half written there. */
function pieceOfParagraph(md, source, env, over, kept) {
  const begin = env.piece ? HEAD_WORD.length : 0;
  const last = source.lastIndexOf("\n") + 1; // what this line is may still be told by its first word, and that it heads a table
  const isSure = (end) => {
    const line = source.slice(source.lastIndexOf("\n", end - 1) + 1, end);
    return end > begin && !line.includes("|") && (end < last || /\p{L}/u.test(line));
  };
  const ends = [...source.slice(0, Math.min(over - 1, source.length - kept)).matchAll(BETWEEN_WORDS)].map(({ index }) => index + 1).filter(isSure);
  const tried = ends.toReversed().filter((end, index) => index % 20 === 0 && index < 400);
  const cut = tried.find((end) => isComplete(md, source.slice(begin, end), env));
  if (!cut) return null;
  const render = (text) => `<p>${md.renderInline(text, { references: env.references })}</p>`;
  return { cut, piece: { kind: "paragraph", type: "paragraph_open", head: HEAD_WORD }, final: source.slice(begin, cut).trimStart(), render };
}

/** Whether nothing in this text waits for a mark that may still come. */
function isComplete(md, text, env) {
  if (/:\/\/\S*[^\s\x00-\x7f]$/u.test(text)) return false; // an address may go on behind a Chinese full stop
  const tokens = [];
  const state = new md.inline.State(text, md, { references: env.references }, tokens);
  md.inline.tokenize(state);
  for (const rule of md.inline.ruler2.getRules("")) rule(state);
  const isOpen = (mark) => mark.open && mark.end < 0;
  const waits = ({ type, content, markup }) => (type === "text" && /[[`$]/.test(content)) || (type === "text_special" && (markup === "\\(" || markup === "\\["));
  return !state.delimiters.some(isOpen) && !tokens.some(waits);
}

export function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
