// Maths in Markdown: `$…$` and `\(…\)` in a line, `$$…$$` and `\[…\]` on their own. Prices stay prices: what stands between
// single dollars must touch them on the inside, and no digit may follow the closing one ("$5 and $10").
// The result is an element with the TeX in it; katex-lazily.js draws it.

export function maths(md) {
  md.inline.ruler.before("escape", "maths", inlineMaths);
  md.block.ruler.before("fence", "maths_block", blockMaths, { alt: ["paragraph", "blockquote", "list"] });
  const { escapeHtml } = md.utils;
  md.renderer.rules.maths = (tokens, index) => {
    const { content, info } = tokens[index];
    if (info === "growing") return `<span class="maths growing">${escapeHtml(content)}</span>`;
    return `<span class="maths${info === "display" ? " display" : ""}" data-tex="${escapeHtml(content)}">${escapeHtml(content)}</span>`;
  };
  md.renderer.rules.maths_block = (tokens, index) => {
    const content = escapeHtml(tokens[index].content);
    if (tokens[index].info === "growing") return `<div class="maths growing">${content}</div>\n`;
    return `<div class="maths display" data-tex="${content}">${content}</div>\n`;
  };
}

/** Whether a text may have maths in it. */
export const hasMaths = (text) => /\$|\\\(|\\\[/.test(text);

function inlineMaths(state, silent) {
  const found = mathsAt(state.src, state.pos) ?? (state.env.atEnd && !silent ? begunAt(state.src, state.pos) : null);
  if (!found) return false;
  if (!silent && found.tex) {
    const token = state.push("maths", "span", 0);
    token.content = found.tex;
    token.info = found.info ?? (found.display ? "display" : "");
  }
  state.pos = found.end;
  return true;
}

function mathsAt(src, pos) {
  if (src.startsWith("\\(", pos)) return between(src, pos, "\\)", false);
  if (src.startsWith("\\[", pos)) return between(src, pos, "\\]", true);
  if (src.startsWith("$$", pos)) return between(src, pos, "$$", true);
  if (src[pos] !== "$" || /[\s$]/.test(src[pos + 1] ?? " ") || src[pos - 1] === "\\") return null;
  for (let end = src.indexOf("$", pos + 1); end !== -1; end = src.indexOf("$", end + 1)) {
    if (src[end - 1] === "\\") continue;
    if (/\s/.test(src[end - 1]) || /[\d\p{L}]/u.test(src[end + 1] ?? "")) return null;
    return { tex: src.slice(pos + 1, end), end: end + 1, display: false };
  }
  return null;
}

const BEGUN = /^(?:\$\$|\\\(|\\\[|\$(?![\s\d$]))([^\n$]{0,200})\$?$/;

/** What seems to be half of a formula at the end: shown without its mark until more is there to tell. */
function begunAt(src, pos) {
  if (src[pos - 1] === "\\" || /\w/.test(src[pos - 1] ?? "")) return null;
  const begun = BEGUN.exec(src.slice(pos, pos + 210));
  return begun && pos + begun[0].length === src.length ? { tex: begun[1], end: src.length, info: "growing" } : null;
}

function between(src, pos, close, display) {
  const end = src.indexOf(close, pos + 2);
  const tex = end === -1 ? "" : src.slice(pos + 2, end).trim();
  return tex ? { tex, end: end + 2, display } : null;
}

/**
 * A line that begins with `$$` or `\[`, up to the line that ends with the closing one. Without one it is plain text, but
 * while the text still grows (`env.growing`) it is waited for.
 */
function blockMaths(state, startLine, endLine, silent) {
  const lineAt = (line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]).trimEnd();
  if (state.sCount[startLine] - state.blkIndent >= 4) return false;
  const open = lineAt(startLine).slice(0, 2);
  if (open !== "$$" && open !== "\\[") return false;
  const close = open === "$$" ? "$$" : "\\]";
  const lines = [lineAt(startLine).slice(2)];
  let line = startLine;
  while (!lines.at(-1).endsWith(close)) {
    line++;
    if (line >= endLine && state.env.growing && state.level === 0) return waitForEnd(state, startLine, line, lines, silent);
    if (line >= endLine || state.sCount[line] < state.blkIndent || lineAt(line) === "") return false;
    lines.push(lineAt(line));
  }
  const tex = lines.join("\n").slice(0, -2).trim();
  if (!tex || tex.includes(close)) return false;
  if (silent) return true;
  const token = state.push("maths_block", "div", 0);
  token.block = true;
  token.content = tex;
  token.map = [startLine, line + 1];
  state.line = line + 1;
  return true;
}

function waitForEnd(state, startLine, endLine, lines, silent) {
  if (silent) return true;
  const token = state.push("maths_block", "div", 0);
  token.block = true;
  token.content = lines.join("\n").replace(/[$\\]$/, "").trim();
  token.info = "growing";
  token.map = [startLine, endLine];
  state.line = endLine;
  return true;
}
