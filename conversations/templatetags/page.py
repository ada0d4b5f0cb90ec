"""What the templates of the page need beyond Django's own tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from functools import cache
from itertools import groupby
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import PrefixNode, static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from chatproject.config import BASE_DIR
from conversations.excerpts import Excerpt
from conversations.words import SENTENCES, WORDS, explained

register = template.Library()

#: npm packages by the name under which the scripts import them.
PACKAGES = {
    "markdown-it": "npm/markdown-it/markdown-it.esm.min.mjs",
    "dompurify": "npm/dompurify/purify.min.js",
    "morphdom": "npm/morphdom/morphdom-umd.min.js",
    "highlight.js": "npm/highlightjs/highlight.min.js",
    "katex": "npm/katex/katex.mjs",
}


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """One of the drawings in static/icons.svg, which says nothing to a screen reader."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"/></svg>', classes, static("icons.svg"), name
    )


@register.simple_tag
def sign_up_is_open() -> bool:
    """Whether strangers may make themselves an account."""
    return bool(settings.CHAT.sign_up)


@register.simple_tag
def words() -> SafeString:
    """The sentences that the scripts say, in the reader's language."""
    said: dict[str, Any] = {key: str(sentence) for key, sentence in WORDS.items()}
    # English readers need no dictionary of English.
    said["sentences"] = {english: own for english in SENTENCES if (own := explained(english)) != english}
    return json_script(said, "words")


register.filter(explained)


@register.simple_tag(takes_context=True)
def import_map(context: template.Context) -> SafeString:
    """Where the scripts find each other and the npm packages.

    They import each other by relative addresses, so that Node can test them; here each address leads to its hashed name.
    All that a page surely runs is fetched at once instead of module after module; what is imported later, when it is needed, is not.
    """
    prefix = PrefixNode.handle_simple("STATIC_URL")
    addresses = {f"{prefix}js/{name}": static(f"js/{name}") for name in own_modules()}
    addresses |= {name: static(path) for name, path in PACKAGES.items()}
    wanted = imports_of("page.js") | (imports_of("conversation.js") if context.get("conversation") else set())
    at_once = [static(PACKAGES.get(name, f"js/{name}")) for name in sorted(wanted)]
    return format_html(
        '<script type="importmap" nonce="{}">{}</script>{}',
        context.get("CSP_NONCE", ""),
        mark_safe(json.dumps({"imports": addresses}).replace("<", "\\u003c")),  # noqa: S308  # our own file names
        format_html_join("", '<link rel="modulepreload" href="{}">', [(address,) for address in at_once]),
    )


@cache
def own_modules() -> list[str]:
    """Each script of ours that is a module; theme.js runs before the page is there and is none."""
    return sorted(path.name for path in (BASE_DIR / "static/js").glob("*.js") if path.name != "theme.js")


@cache
def imports_of(name: str) -> set[str]:
    """A module and all that it imports at its top, and those in turn."""
    if name in PACKAGES:
        return {name}
    source = (BASE_DIR / "static/js" / name).read_text("utf-8")
    found = re.findall(r'^(?:import|\} from|import .* from) "(?:\./)?([^"]+)";$', source, re.MULTILINE)
    return {name}.union(*(imports_of(other) for other in found))


@register.filter
def thought(usage: dict[str, Any] | None) -> str:
    """Above the reasoning of a reply: how long it has thought, as details.js says it too."""
    milliseconds = (usage or {}).get("thought_ms")
    if milliseconds is None:
        return str(WORDS["reasoning"])
    minutes, seconds = divmod(max(round(milliseconds / 1000), 1), 60)
    span = WORDS["span_minutes"] if minutes else WORDS["span_seconds"]
    return str(WORDS["thought"]) % {"time": str(span) % {"minutes": minutes, "seconds": seconds}}


@register.filter
def by_day(entries: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Entries of the sidebar, newest first, under the headings that sidebar.js gives them too."""
    today = timezone.localdate()
    return [
        (heading, list(group))
        for heading, group in groupby(
            entries, lambda entry: day_heading(timezone.localdate(entry["updated_at"]), today)
        )
    ]


def day_heading(day: date, today: date) -> str:
    """Today, Yesterday, two spans of days, then months."""
    age = (today - day).days
    if age <= 0:
        heading = _("Today")
    elif age == 1:
        heading = _("Yesterday")
    elif age < 7:
        heading = _("Previous 7 days")
    elif age < 30:
        heading = _("Previous 30 days")
    else:
        heading = date_format(day, "YEAR_MONTH_FORMAT")
    return heading


@register.filter
def marked(excerpt: Excerpt) -> SafeString:
    """A part of a text with its hits marked."""
    text, place = SafeString(""), 0
    for start, end in excerpt.marks:
        text += format_html("{}<mark>{}</mark>", excerpt.text[place:start], excerpt.text[start:end])
        place = end
    return text + format_html("{}", excerpt.text[place:])
