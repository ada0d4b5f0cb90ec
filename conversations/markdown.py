"""Replies as HTML for the first paint of a page, before a script has run.

The page's own renderer takes over from there; both read CommonMark with tables, strike-
through and bare links, and neither lets any HTML of a model through.
"""

import re
from functools import cache
from urllib.parse import urlsplit

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.tasklists import tasklists_plugin

TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("hr", "input", "li", "ol", "p", "pre", "s", "strong", "table", "tbody", "td"),
    *("th", "thead", "tr", "ul"),
}
ATTRIBUTES = {
    "a": {"href", "title", "target"},
    "code": {"class"},
    "input": {"type", "checked", "disabled", "class"},
    "li": {"class"},
    "ol": {"start"},
    "td": {"align"},
    "th": {"align"},
    "ul": {"class"},
}


SAFE_LINK = re.compile(r"https?://|mailto:", re.IGNORECASE)

#: Looking for bare links costs the square of their number.
MOST_LINKS = 100
#: Cells of tables in one text; each costs some thirty bytes of HTML.
MOST_CELLS = 10_000


def render(text: str) -> SafeString:
    """Return Markdown as HTML without scripts, styles, images or foreign requests."""
    if _would_explode(text):
        return format_html("<pre>{}</pre>", text)
    html = _renderer(linkify=text.count("://") + text.count("www.") <= MOST_LINKS).render(text)
    clean = nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )
    return mark_safe(clean)  # noqa: S308 - this is what nh3 is for


def _would_explode(text: str) -> bool:
    """Is there a table whose short rows would be filled up with thousands of cells?"""
    rows = [line.count("|") for line in text.splitlines() if "|" in line]
    return max(rows, default=0) * len(rows) > MOST_CELLS


@cache
def _renderer(linkify: bool) -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False, "linkify": linkify})
    renderer.enable(["table", "strikethrough", *(["linkify"] if linkify else [])])
    renderer.use(tasklists_plugin)
    renderer.validateLink = _is_safe_link  # type: ignore[method-assign]
    renderer.add_render_rule("image", _image_as_link)
    renderer.add_render_rule("link_open", _link_open)
    return renderer


def _is_safe_link(url: str) -> bool:
    """Whether a link leads to another site or to a mailbox; the page's own renderer makes none of any other, either."""
    return bool(SAFE_LINK.match(url.strip()))


def _image_as_link(self, tokens: list[Token], index: int, options, env) -> str:  # type: ignore[no-untyped-def]
    # An image is fetched without a click, and its address can carry a conversation out.
    token = tokens[index]
    source = str(token.attrs.get("src", ""))
    label = token.content or urlsplit(source).hostname or source
    return f'<a href="{_escaped(source)}" target="_blank">{_escaped(label)}</a>'


def _link_open(self, tokens: list[Token], index: int, options, env) -> str:  # type: ignore[no-untyped-def]
    token = tokens[index]
    href = str(token.attrs.get("href", ""))
    # Where a link leads shows before it is followed, whatever its words pretend.
    token.attrs["title"] = urlsplit(href).hostname or href
    token.attrs["target"] = "_blank"
    return str(self.renderToken(tokens, index, options, env))


def _escaped(text: str) -> str:
    return nh3.clean_text(text)
