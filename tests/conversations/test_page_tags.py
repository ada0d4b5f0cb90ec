"""What the templates of the page are given by their own tags."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from gettext import GNUTranslations

import pytest
from django.template import Context
from django.utils import timezone

from chatproject.config import BASE_DIR
from conversations.templatetags.page import by_day, day_heading, import_map, imports_of
from conversations.words import WORDS

TODAY = date(2026, 3, 15)


@pytest.mark.parametrize(
    ("age", "heading"),
    [
        (-1, "Today"),
        (0, "Today"),
        (1, "Yesterday"),
        (2, "Previous 7 days"),
        (6, "Previous 7 days"),
        (7, "Previous 30 days"),
        (29, "Previous 30 days"),
        (30, "February 2026"),
    ],
)
def test_a_conversation_stands_under_its_day(age: int, heading: str) -> None:
    assert day_heading(TODAY - timedelta(days=age), TODAY) == heading


def test_entries_keep_their_order_under_the_headings() -> None:
    now: datetime = timezone.now()
    ages = [0, 0, 1, 3, 3, 200]
    groups = by_day([{"id": n, "updated_at": now - timedelta(days=age)} for n, age in enumerate(ages)])
    assert [len(entries) for _, entries in groups] == [2, 1, 2, 1]


def test_what_a_page_runs_is_found_by_its_imports() -> None:
    found = imports_of("conversation.js")
    assert {"transcript.js", "growing.js", "markdown-it", "dompurify"} <= found
    assert not {"katex", "highlight.js"} & found


def test_the_import_map_names_each_module_and_carries_the_nonce() -> None:
    html = import_map(Context({"CSP_NONCE": "n0nce", "conversation": object()}))
    found = re.search(r'<script type="importmap" nonce="n0nce">(.*?)</script>', html)
    assert found is not None
    imports = json.loads(found[1])["imports"]
    assert imports["/static/js/transcript.js"].startswith("/static/js/transcript")
    assert imports["katex"].startswith("/static/npm/katex/")
    assert "katex" not in html.split("</script>")[1]


def test_every_word_of_the_scripts_is_there_in_chinese() -> None:
    """With the values that the scripts fill in."""
    path = BASE_DIR / "locale/zh_Hans/LC_MESSAGES/django.mo"
    with path.open("rb") as file:
        chinese = GNUTranslations(file)
    for sentence in map(str, WORDS.values()):
        translated = chinese.gettext(sentence)
        assert translated != sentence
        assert sorted(re.findall(r"%\(\w+\)s", translated)) == sorted(re.findall(r"%\(\w+\)s", sentence))
