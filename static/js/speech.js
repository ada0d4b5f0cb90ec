// What a screen reader is told of a Markdown text: its words without the marks, and of code how long it is. Pure.

const FENCE = /^ {0,3}(`{3,}|~{3,})/;

/** The words of a text. `code(lines)` says that there is a block of code of so many lines. */
export function spokenText(markdown, code) {
  const said = [];
  let fence = null;
  let lines = 0;
  for (const line of markdown.split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      if (mark && closes(fence, mark, line)) {
        said.push(code(lines));
        fence = null;
      } else lines += 1;
    } else if (mark) {
      fence = mark;
      lines = 0;
    } else said.push(withoutMarks(line));
  }
  if (fence) said.push(code(lines));
  return said.filter(Boolean).join("\n");
}

const closes = (fence, mark, line) => mark[0] === fence[0] && mark.length >= fence.length && !line.trim().replaceAll(mark[0], "");

function withoutMarks(line) {
  if (/^ {0,3}([-*_][ \t]*){3,}$|^[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*$/.test(line)) return ""; // a rule, the line under the head of a table
  return line
    .replace(/^[ \t]*(>[ \t]?)+/, "")
    .replace(/^[ \t]*(#{1,6}|[-*+])[ \t]+/, "")
    .replace(/^\[[ xX]\][ \t]+/, "")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/<(https?:\/\/[^>]*)>/g, "$1")
    .replace(/\\([\\`*_{}[\]()#+.!|>~-])|(`+|\*{1,3}|~~|\$\$?|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w))/g, (_, escaped) => escaped ?? "")
    .replace(/[ \t]*\|[ \t]*/g, ", ")
    .replace(/^(, )+|(, )+$/g, "")
    .trim();
}

/** How far the finished sentences go in a text that grows, on from `start`; `start` itself where none has ended since. Code counts when it is whole. */
export function sentencesEnd(text, start) {
  let end = start;
  let fence = null;
  for (let at = start; at < text.length; ) {
    const newline = text.indexOf("\n", at);
    const isWhole = newline !== -1;
    const line = text.slice(at, isWhole ? newline : undefined);
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      if (mark && isWhole && closes(fence, mark, line)) {
        fence = null;
        end = newline + 1;
      }
    } else if (mark) fence = mark;
    else if (isWhole) end = newline + 1;
    else end = Math.max(end, at + endOfSentences(line));
    at = isWhole ? newline + 1 : text.length;
  }
  return end;
}

const endOfSentences = (line) => [...line.matchAll(/[.!?…]["'”’)\]*_]*\s+(?=\S)|[。！？]["”’」』）]*/g)].map((found) => found.index + found[0].length).at(-1) ?? 0;
