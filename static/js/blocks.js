// A growing Markdown text, split so that only its open end is parsed again. Pure: source in, HTML strings out.
//
// Blocks are decided line by line. As soon as a next block has begun on a line that is complete, nothing that follows can
// change those before it; they are given out once as `closed`, and the rest as `open`. A block that has become long is taken
// apart in the same way, see pieces.js: what has grown of it for good is given out once as `grown`, and what comes later goes
// on where that ended. The one exception is a link definition (`[name]: address`) that comes after its use:
// `lateDefinitions` then asks for one last rendering of the whole.

import { withoutHalfLines } from "./mend.js";
import { goesOn, lineStarts, pieceOf } from "./pieces.js";

const LONG = 4_000; // characters of an open block that is not yet taken apart: parsing them takes a millisecond or two

export class Blocks {
  #references = {}; // link definitions of what is done with
  #rest = 0; // where that begins in the text which is still open
  #piece = null; // how the open block goes on that has partly been given out
  #given = false; // whether anything has been
  #next = 0; // how long the open end has to be until it is taken apart (again)
  #loose = false;

  constructor(md, long = LONG) {
    this.md = md;
    this.long = this.#next = long;
  }

  /**
   * What has closed since the last time and what is still open, both as HTML; `whole`: nothing will come any more.
   *
   * With `grown` the first block of the two goes on behind the children that stand in it, which are final; so do later ones
   * until it closes. With `again` they were not: the first block is there as a whole.
   */
  next(text, whole = false) {
    const source = this.#sourceOf(text);
    const env = this.#env(true);
    const tokens = this.md.parse(source, env);
    if (this.#piece && !goesOn(this.#piece, tokens, env)) return this.#again(text, whole, env);
    const boundary = whole ? source.length : boundaryOf(source, tokens);
    if (boundary > 0) {
      const closed = this.#close(source.slice(0, boundary));
      this.#restAt(this.#rest + boundary - (this.#piece?.head.length ?? 0), null);
      return { closed, open: whole ? "" : this.#renderOpen(source.slice(boundary)), grown: "" };
    }
    const grown = source.length > this.#next ? this.#takeApart(source, tokens) : "";
    return { closed: "", open: grown ? this.#renderOpen(this.#sourceOf(text)) : this.#renderOpen(source, tokens), grown };
  }

  /** Whether a definition has come after what may name it was given out. */
  get lateDefinitions() {
    return this.late === true;
  }

  /** An open code fence at the end: its code can be shown without parsing it again. Null where the end is something else. */
  openFence(text) {
    if (this.#piece) return null;
    const tail = text.slice(this.#rest);
    const mark = /^ {0,3}(`{3,}|~{3,})([^\n]*)\n/.exec(tail);
    if (!mark || (mark[1][0] === "`" && mark[2].includes("`"))) return null;
    const closing = new RegExp(`\\n {0,3}${mark[1][0]}{${mark[1].length},}[ \\t]*(\\n|$)`);
    const code = tail.slice(mark[0].length);
    if (/^ /.test(mark[0]) || closing.test(`\n${code}`)) return null;
    const partial = new RegExp(`(^|\\n) {0,3}${mark[1][0]}*$`).exec(code);
    return { language: mark[2].trim().split(/\s/)[0], code: partial ? code.slice(0, partial.index + partial[1].length) : code };
  }

  #sourceOf = (text) => (this.#piece?.head ?? "") + text.slice(this.#rest);

  #env = (growing) => ({ references: { ...this.#references }, growing, piece: this.#piece });

  #restAt(rest, piece) {
    this.#rest = rest;
    this.#piece = piece;
    this.#given = true;
    this.#next = this.long;
    if (!piece) this.#loose = false;
  }

  #takeApart(source, tokens) {
    const found = pieceOf(this.md, source, tokens, this.#env(true), { loose: this.#loose, kept: this.long / 10 });
    if (!found) {
      this.#next = source.length + this.long / 4;
      return "";
    }
    const { cut, piece, final, render = (source) => this.#close(source) } = found;
    const { start, head } = this.#piece ?? { start: this.#rest, head: "" };
    this.#piece = { ...piece, start };
    const grown = render(final);
    this.#restAt(this.#rest + cut - head.length, this.#piece);
    return grown;
  }

  /** What was given out as grown is not as it seemed: a list has become loose, a paragraph a heading. */
  #again(text, whole, { loose = false }) {
    this.#rest = this.#piece.start;
    this.#piece = null;
    this.#loose = loose;
    this.#next = loose ? this.long : Infinity;
    return { ...this.next(text, whole), again: true };
  }

  #close(source) {
    const env = this.#env(false);
    const before = Object.keys(env.references).length;
    const html = this.md.render(source, env);
    this.late ||= this.#given && Object.keys(env.references).length > before;
    this.#references = env.references;
    return html;
  }

  #renderOpen(source, tokens = null) {
    const shown = withoutHalfLines(source);
    const env = this.#env(true);
    return this.md.renderer.render(tokens && shown === source ? tokens : this.md.parse(shown, env), this.md.options, env);
  }
}

/** Where the last block begins whose first line is complete. */
function boundaryOf(source, tokens) {
  const begins = (token) => token.level === 0 && token.map && token.nesting >= 0 && !(token.type === "maths_block" && token.info === "growing");
  const starts = tokens.filter(begins).map((token) => token.map[0]);
  const lines = lineStarts(source);
  const complete = starts.filter((line) => lines[line + 1] !== undefined);
  return complete.length > 1 || (complete.length === 1 && complete[0] > 0) ? lines[complete.at(-1)] : 0;
}
