// A growing Markdown text, split so that only its open end is parsed again. Pure: source in, HTML strings out.
//
// Blocks are decided line by line. As soon as a next block has begun on a line that is complete, nothing that follows can
// change those before it; they are given out once as `closed`, and the rest as `open`. The one exception is a link
// definition (`[name]: address`) that comes after its use: `lateDefinitions` then asks for one last rendering of the whole.

import remend from "remend";

const MEND = { htmlTags: false, images: true, linkMode: "text-only", comparisonOperators: false, setextHeadings: false, singleTilde: false, inlineKatex: false, katex: false };

export class Blocks {
  #references = {}; // link definitions of the closed blocks
  #start = 0; // where the open end begins in the text

  constructor(md) {
    this.md = md;
  }

  /** What has closed since the last time and what is still open, both as HTML; `whole`: nothing will come any more. */
  next(text, whole = false) {
    const tail = text.slice(this.#start);
    const tokens = this.#parse(tail);
    const boundary = whole ? tail.length : this.#boundary(tail, tokens);
    const closed = boundary > 0 ? this.#close(tail.slice(0, boundary)) : "";
    this.#start += boundary;
    return { closed, open: whole ? "" : this.#renderOpen(tail.slice(boundary), boundary > 0 ? null : tokens) };
  }

  /** Whether a definition has come after blocks that may name it had closed. */
  get lateDefinitions() {
    return this.late === true;
  }

  /** An open code fence at the end: its code can be shown without parsing it again. Null where the end is something else. */
  openFence(text) {
    const tail = text.slice(this.#start);
    const mark = /^ {0,3}(`{3,}|~{3,})([^\n]*)\n/.exec(tail);
    if (!mark || (mark[1][0] === "`" && mark[2].includes("`"))) return null;
    const closing = new RegExp(`\\n {0,3}${mark[1][0]}{${mark[1].length},}[ \\t]*(\\n|$)`);
    const code = tail.slice(mark[0].length);
    if (/^ /.test(mark[0]) || closing.test(`\n${code}`)) return null;
    const partial = new RegExp(`(^|\\n) {0,3}${mark[1][0]}*$`).exec(code);
    return { language: mark[2].trim().split(/\s/)[0], code: partial ? code.slice(0, partial.index + partial[1].length) : code };
  }

  #parse(source) {
    return this.md.parse(source, { references: { ...this.#references }, growing: true });
  }

  #boundary(tail, tokens) {
    const begins = (token) => token.level === 0 && token.map && token.nesting >= 0 && !(token.type === "maths_block" && token.info === "growing");
    const starts = tokens.filter(begins).map((token) => token.map[0]);
    const lines = lineStarts(tail);
    const complete = starts.filter((line) => lines[line + 1] !== undefined);
    return complete.length > 1 || (complete.length === 1 && complete[0] > 0) ? lines[complete.at(-1)] : 0;
  }

  #close(source) {
    const env = { references: { ...this.#references } };
    const before = Object.keys(env.references).length;
    const html = this.md.render(source, env);
    this.late ||= this.#start > 0 && Object.keys(env.references).length > before;
    this.#references = env.references;
    return html;
  }

  #renderOpen(source, tokens) {
    const mended = mend(source);
    if (tokens && mended === source) return this.md.renderer.render(tokens, this.md.options, { references: this.#references });
    return this.md.render(mended, { references: { ...this.#references }, growing: true });
  }
}

/** Closes what is half written, so that `**bo` is bold at once, and holds back what cannot be told yet; code is left as it is. */
function mend(source) {
  if (/^ {0,3}(`{3,}|~{3,}|\$\$|\\\[)/.test(source) || /^( {4}|\t)/.test(source)) return source;
  const line = source.slice(source.lastIndexOf("\n") + 1);
  const onlyMarks = /^ {0,3}([-*_+=~`#>]|\d+[.)])+[ \t]*$/.test(line);
  const held = onlyMarks ? source.slice(0, source.length - line.length) : source.replace(TABLE_HEAD, "$1");
  return remend(held, MEND);
}

/** The first row of a table is a paragraph until the row of dashes below it is there. */
const TABLE_HEAD = /(^|\n\n) {0,3}\|[^\n]*(\n {0,3}\|?[ \t:|-]*)?$/;

function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
