// Blocks of code: language, colours, and what can be done with them. The highlighter is loaded when the first block needs it.

import { cloneTemplate, setText } from "./dom.js";
import { sanitize } from "./sanitize.js";
import { say } from "./words.js";

const MOST_TO_COLOUR = 50_000; // characters; colouring more would be felt

let highlighter;

/** Gives each bare block under `root` (or `root` itself) its head, and its colours. */
export function equipCode(root) {
  const blocks = root.matches("pre") ? [root] : root.querySelectorAll("pre");
  for (const pre of blocks) {
    if (!pre.parentElement?.classList.contains("code")) wrap(pre);
    colour(pre.firstElementChild ?? pre);
  }
}

/** A head above the block. The block has room for it already, so nothing moves. */
export function wrap(pre) {
  const box = cloneTemplate("code-template");
  pre.replaceWith(box);
  pre.classList.remove("open");
  pre.tabIndex = 0; // it may scroll, and keys must be able to do that
  box.append(pre);
  labelCode(box);
  return box;
}

/** The name of the language may still be growing while the block is open. */
export function labelCode(box) {
  setText(box.querySelector(".code-language"), languageOf(box.querySelector("code")) || say("code"));
}

const languageOf = (code) => /(?:^|\s)language-(\S+)/.exec(code?.className ?? "")?.[1] ?? "";

async function colour(code) {
  const language = languageOf(code);
  if (!language || code.dataset.coloured || code.textContent.length > MOST_TO_COLOUR) return;
  code.dataset.coloured = "yes";
  highlighter ??= import("highlight.js").then((module) => module.default);
  const hljs = await highlighter.catch(() => null);
  if (!hljs?.getLanguage(language)) return;
  await new Promise((resolve) => (globalThis.requestIdleCallback ?? setTimeout)(resolve, { timeout: 1000 }));
  const { value } = hljs.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(sanitize(value));
}

export async function copyCode(button) {
  const done = await copyText(button.closest(".code").querySelector("pre").textContent);
  const label = button.querySelector("span");
  setText(label, say(done ? "copied" : "copy_failed"));
  setTimeout(() => setText(label, say("copy")), 2000);
}

/** Breaks long lines of a block, or lets them run on. */
export function wrapLines(button) {
  const wrapped = button.closest(".code").classList.toggle("wrapped");
  button.setAttribute("aria-pressed", String(wrapped));
}

const ENDINGS = {
  bash: "sh", c: "c", cpp: "cpp", csharp: "cs", css: "css", csv: "csv", diff: "diff", go: "go", html: "html", java: "java", javascript: "js", js: "js", json: "json",
  kotlin: "kt", latex: "tex", lua: "lua", makefile: "mk", markdown: "md", md: "md", php: "php", python: "py", py: "py", r: "r", ruby: "rb", rust: "rs", scss: "scss",
  sh: "sh", shell: "sh", sql: "sql", svg: "svg", swift: "swift", toml: "toml", ts: "ts", tsx: "tsx", typescript: "ts", xml: "xml", yaml: "yaml", yml: "yml",
};

/** Saves a block as a file with the ending of its language. */
export function saveCode(button) {
  const pre = button.closest(".code").querySelector("pre");
  const language = languageOf(pre.querySelector("code")).toLowerCase();
  const ending = Object.hasOwn(ENDINGS, language) ? ENDINGS[language] : "txt";
  const href = URL.createObjectURL(new Blob([pre.textContent], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href, download: `${say("code")}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

const blob = (text, type) => new Blob([text], { type });

/** Copies, for programs that know it with its form as `html`; also on a plain-http address in the own network, where the clipboard's interface is not to be had. */
export async function copyText(text, html = "") {
  try {
    if (html) await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob(text, "text/plain"), "text/html": blob(html, "text/html") })]);
    else await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
