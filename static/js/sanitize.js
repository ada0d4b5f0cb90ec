// The one way from a string to markup. Nothing else on the page makes elements from strings: the browser refuses it
// (`require-trusted-types-for 'script'`), and this policy stays inside this module.

import "dompurify";

const { DOMPurify, trustedTypes } = globalThis;

const policy = trustedTypes?.createPolicy("parley", {
  createHTML: (html) => html, // DOMPurify's own parsing: what comes out of it has been cleaned
  createScriptURL: () => {
    throw new TypeError("No script is loaded by a string.");
  },
});

const TAGS = "a b blockquote br code del div em h1 h2 h3 h4 h5 h6 hr i input label li ol p pre s span strong sub sup table tbody td th thead tr ul";
const ATTRIBUTES = "checked class data-tex disabled href rel start tabindex target title type";

DOMPurify.setConfig({
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ATTRIBUTES.split(" "),
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i, // asked of every attribute that is not named in the next line
  ADD_URI_SAFE_ATTR: ATTRIBUTES.split(" ").filter((name) => name !== "href"),
  RETURN_DOM_FRAGMENT: true,
  ...(policy && { TRUSTED_TYPES_POLICY: policy }),
});

// An input is a task's mark and nothing one could type into.
DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "INPUT") return;
  if (node.getAttribute("type") === "checkbox") node.setAttribute("disabled", "");
  else node.remove();
});

/** Clean elements from a string of markup. */
export function sanitize(html) {
  return DOMPurify.sanitize(html);
}

const forLists = DOMPurify(globalThis);

/** `{rows, after}` of the sidebar, from the fragment that the server renders: a page, and where the next one begins. */
export function sanitizeList(html) {
  const fragment = forLists.sanitize(html, {
    ALLOWED_TAGS: ["section", "ul", "li", "a", "p"],
    ALLOWED_ATTR: ["class", "title"],
    ALLOW_DATA_ATTR: true,
    RETURN_DOM_FRAGMENT: true,
    ...(policy && { TRUSTED_TYPES_POLICY: policy }),
  });
  return { rows: [...fragment.querySelectorAll("[data-conversation]")], after: fragment.querySelector("[data-after]")?.dataset.after ?? "" };
}
