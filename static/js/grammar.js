// The Markdown that is spoken here: CommonMark with tables, strikethrough, task lists, footnotes, maths and bare links,
// without raw HTML. Pure: it makes strings; nothing of it reaches the page except through sanitize.js.

import MarkdownIt from "markdown-it";

import { withCjk } from "./cjk.js";
import { withFootnotes } from "./footnotes.js";
import { maths } from "./maths.js";
import { withMending } from "./mend.js";
import { withPieces } from "./pieces.js";

const SAFE_LINK = /^(https?:\/\/|mailto:)/i;

export function markdownGrammar() {
  const md = withCjk(new MarkdownIt("default", { html: false, linkify: true, typographer: false }));
  md.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
  md.validateLink = (url) => SAFE_LINK.test(url.trim());
  for (const extend of [maths, withFootnotes, withMending, withPieces]) md.use(extend);
  md.core.ruler.after("inline", "task_lists", markTasks);
  md.renderer.rules.image = (...all) => renderImageAsLink(md.utils.escapeHtml, ...all);
  md.renderer.rules.link_open = renderLink;
  md.renderer.rules.td_open = md.renderer.rules.th_open = renderCell;
  md.renderer.rules.table_open = () => '<div class="table" tabindex="0"><table>\n';
  md.renderer.rules.table_close = () => "</table></div>\n";
  return md;
}

const hostOf = (url) => (URL.canParse(url) ? new URL(url).host || url.replace(/^mailto:/i, "") : "");

/** A link opens elsewhere, tells nobody where it was found, and shows where it leads. */
function renderLink(tokens, index, options, env, renderer) {
  const token = tokens[index];
  token.attrSet("title", hostOf(token.attrGet("href")));
  token.attrSet("target", "_blank");
  token.attrSet("rel", "noopener noreferrer");
  return renderer.renderToken(tokens, index, options);
}

/** No image is loaded from anywhere: the request alone would tell its host what is read here. */
function renderImageAsLink(escapeHtml, tokens, index, options, env, renderer) {
  const source = tokens[index].attrGet("src") ?? "";
  const label = escapeHtml(renderer.renderInlineAsText(tokens[index].children, options, env) || hostOf(source) || source);
  const insideLink = tokens.slice(0, index).findLast((token) => token.type.startsWith("link_"))?.type === "link_open";
  if (insideLink) return label;
  const title = escapeHtml(hostOf(source));
  return `<a class="image" href="${escapeHtml(source)}" title="${title}" target="_blank" rel="noopener noreferrer">${label}</a>`;
}

/** markdown-it aligns cells by a style attribute, which the Content-Security-Policy refuses. */
function renderCell(tokens, index, options, env, renderer) {
  const token = tokens[index];
  const align = /text-align:(\w+)/.exec(token.attrGet("style") ?? "")?.[1];
  token.attrs = align ? [["class", `align-${align}`]] : null;
  return renderer.renderToken(tokens, index, options);
}

/** `- [x] done`: the mark becomes a checkbox that shows and cannot be changed. */
function markTasks(state) {
  const { tokens } = state;
  for (let i = 2; i < tokens.length; i++) {
    if (tokens[i].type !== "inline" || tokens[i - 1].type !== "paragraph_open" || tokens[i - 2].type !== "list_item_open") continue;
    const first = tokens[i].children[0];
    const mark = first?.type === "text" && /^\[([ xX])\]\s/.exec(first.content);
    if (!mark) continue;
    first.content = first.content.slice(mark[0].length);
    const box = new state.Token("task", "input", 0);
    box.attrs = [["type", "checkbox"], ["disabled", ""], ...(mark[1] === " " ? [] : [["checked", ""]])];
    tokens[i].children.unshift(new state.Token("label_open", "label", 1), box);
    tokens[i].children.push(new state.Token("label_close", "label", -1));
    tokens[i - 2].attrJoin("class", "task");
  }
}
