"""Words of a model become no script, no style and no request to a foreign host."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conversations.markdown import ATTRIBUTES, TAGS, render
from tests.attacks import ATTACKS
from tests.cases import dozens, whole_texts

FRAGMENTS = (
    *ATTACKS,
    *(
        "<",
        ">",
        '"',
        "'",
        "`",
        "```",
        "(",
        ")",
        "[",
        "]",
        "![",
        "](",
        "\n",
        "\n\n",
        " ",
        "|",
        "\\",
        "&",
        ";",
        ":",
        "=",
        "*",
        "_",
    ),
    *(
        "javascript:",
        "data:",
        "https://",
        "//",
        "on",
        "onclick=",
        "style=",
        "<script",
        "</",
        "<!--",
        "&#",
        "&colon;",
        "| - |",
        "- [ ] ",
    ),
)


class Parsed(HTMLParser):
    """What a browser makes of it: the elements with their attributes, and the words between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("an instruction")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def assert_harmless(html: str) -> None:
    for tag, attributes in Parsed(html).elements:
        assert tag in TAGS
        assert attributes.keys() <= ATTRIBUTES.get(tag, set()) | {"rel"}
        assert not any(name.startswith("on") or name in ("style", "src", "srcset", "id", "name") for name in attributes)
        if tag == "a" and "href" in attributes:
            assert urlsplit(attributes["href"] or "").scheme in ("http", "https", "mailto")
            assert attributes["rel"] == "noopener noreferrer"
            assert attributes["target"] == "_blank"
        if tag == "input":
            assert attributes["type"] == "checkbox"
            assert "disabled" in attributes


FRAMES = ["**{}**", "> {}", "- {}", "1. {}", "# {}", "[{}](https://a.example)", "| {} |\n|-|", "~~{}~~"]


def test_there_are_attacks_of_every_kind() -> None:
    assert len(ATTACKS) >= 150


@pytest.mark.parametrize("text", ATTACKS)
def test_hostile_words_are_harmless_cut_off_and_wherever_they_stand(text: str) -> None:
    """As they are while they stream; the page's own renderer is tried at every character, see tests/browser/test_attacks.py."""
    for end in (*range(1, len(text), 5), len(text)):
        assert_harmless(render(text[:end]))
    for frame in FRAMES:
        assert_harmless(render(frame.format(text)))


@dozens
@given(st.lists(st.sampled_from(FRAGMENTS) | whole_texts(4), max_size=12).map("".join))
@example("[a](http://[\n")
def test_whatever_is_said_is_harmless(text: str) -> None:
    assert_harmless(render(text))


@dozens
@given(st.text(st.sampled_from("<>\"'`()[]!|\\&:/#*_-~ \nahtps.@1"), max_size=60))
def test_any_markup_is_harmless(text: str) -> None:
    assert_harmless(render(text))


# What must stay


def test_html_is_shown_as_it_was_written() -> None:
    assert Parsed(render("a <b>bold</b> move")).words.strip() == "a <b>bold</b> move"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("**a**", "strong"),
        ("*a*", "em"),
        ("~~a~~", "s"),
        ("# a", "h1"),
        ("- a", "ul"),
        ("1. a", "ol"),
        ("> a", "blockquote"),
        ("`a`", "code"),
        ("---", "hr"),
        ("| a |\n|---|\n| b |", "table"),
        ("a  \nb", "br"),
        ("- [x] a", "input"),
        ("https://a.example", "a"),
    ],
)
def test_markdown_becomes_what_it_means(text: str, tag: str) -> None:
    assert Parsed(render(text)).all(tag)


def test_code_keeps_its_language_for_the_page() -> None:
    assert Parsed(render("```python\nprint(1)\n```")).all("code") == [{"class": "language-python"}]


@pytest.mark.parametrize(
    ("text", "href", "shown"),
    [
        ("[safe](https://evil.example/path)", "https://evil.example/path", "evil.example"),
        ("[bank](https://bank.example@evil.example)", "https://bank.example@evil.example", "evil.example"),
        ("https://a.example/b", "https://a.example/b", "a.example"),
    ],
)
def test_a_link_shows_where_it_leads(text: str, href: str, shown: str) -> None:
    (link,) = Parsed(render(text)).all("a")
    assert (link["href"], link["title"]) == (href, shown)


def test_an_image_is_a_link_and_fetches_nothing() -> None:
    page = Parsed(render("![a chart](https://pics.example/1.png?q=secret)"))
    assert page.all("img") == []
    assert page.all("a")[0]["href"] == "https://pics.example/1.png?q=secret"
    assert page.words.strip() == "a chart"


def test_an_image_without_words_is_named_by_its_host() -> None:
    assert Parsed(render("![](https://pics.example/1.png)")).words.strip() == "pics.example"


@pytest.mark.parametrize("text", ["你好 **世界**", "😀 `😀`", "e\u0301"])
def test_all_scripts_come_through(text: str) -> None:
    assert Parsed(render(text)).words.strip() == text.replace("*", "").replace("`", "")


@pytest.mark.parametrize(
    "text",
    ["http://a." * 3000, "|" + "a|" * 700 + "\n|" + "-|" * 700 + "\n" + "|\n" * 700, "[" * 3000, "*a " * 3000],
    ids=["bare links", "short rows of a wide table", "brackets", "stars"],
)
def test_a_degenerate_text_becomes_a_page_of_its_own_size(text: str) -> None:
    assert len(render(text)) < 20 * len(text)
