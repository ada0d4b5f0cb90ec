"""What is said on pages, where it stands in the code: found so that it can be compared with the catalogue."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from django.utils.translation.template import templatize

from chatproject.config import BASE_DIR

APPS = ("chatproject", "conversations", "streaming")
#: The first word of each is the sentence; of a plural the first has the translation.
MARKS = ("_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy")

LITERAL = r"u?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
MARKED = re.compile(rf"\b(?:gettext|ngettext|_)\(\s*({LITERAL})")
#: What has no words to translate: names of ours, and of keys.
NAMES = {"Parley", "Ctrl", "Shift", "Enter", "Esc"}
SAID_ATTRIBUTES = {"aria-label", "title", "placeholder", "alt", "value", "label"}
#: What a page shows, so far as it is a word of more than a letter.
WORD = re.compile(r"[A-Za-z]{2,}")
#: Among Chinese words there may be an English name.
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def templates() -> list[Path]:
    return sorted((BASE_DIR / "templates").rglob("*.html"))


def modules() -> list[Path]:
    return [path for app in APPS for path in sorted((BASE_DIR / app).rglob("*.py"))]


def scripts() -> list[Path]:
    return sorted((BASE_DIR / "static/js").glob("*.js"))


def said_in_template(source: str) -> Iterator[str]:
    """The sentences that a template has translated."""
    for found in MARKED.findall(templatize(source)):
        yield ast.literal_eval(found)


def said_in_module(source: str) -> Iterator[str]:
    """The sentences that a module has translated, now or when they are shown."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        said = node.args[0] if name in MARKS and node.args else None
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            yield said.value


CLASSES = re.compile(r"{% block bodyclass %}.*?{% endblock %}")
TRANSLATED = re.compile(r"{% blocktrans(?:late)?\b.*?{% endblocktrans(?:late)? %}", re.DOTALL)
UNSEEN = re.compile(r"{% comment %}.*?{% endcomment %}|{#.*?#}|{%.*?%}|{{.*?}}", re.DOTALL)
#: A block may hold an attribute alone.
ATTRIBUTE = re.compile(r'[a-z-]+="[^"]*"')


def bare_words(source: str) -> list[str]:
    """The words of a template that nobody translates."""
    shown = words_shown(UNSEEN.sub("", TRANSLATED.sub("", CLASSES.sub("", source))))
    return [words for words in shown if not ATTRIBUTE.fullmatch(words)]


def words_shown(html: str, quiet: frozenset[str] = frozenset()) -> list[str]:
    """What is to be read, or to be heard, in a page and has English words in it; nothing in elements of these classes."""
    reader = Reader(quiet)
    reader.feed(html)
    reader.close()
    return [text for text in reader.said if set(WORD.findall(text)) - NAMES and not CHINESE.search(text)]


class Reader(HTMLParser):
    """Hears what a page says to a person."""

    SILENT = ("script", "style", "code", "pre", "kbd", "svg", "option", "time")
    VOID = (
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "track",
        "wbr",
        "use",
        "path",
    )

    def __init__(self, quiet: frozenset[str]) -> None:
        super().__init__()
        self.quiet = quiet
        self.said: list[str] = []
        self.within: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = set((given.get("class") or "").split())
        # A language is named in itself.
        hushed = (
            self.is_silent or tag in self.SILENT or bool(classes & self.quiet) or (tag != "html" and "lang" in given)
        )
        if tag not in self.VOID:
            self.within.append((tag, hushed))
        if not hushed and not (
            tag == "input" and given.get("type") in ("hidden", "text", "search", "number", "checkbox", None)
        ):
            self.said += [
                value for name in SAID_ATTRIBUTES & given.keys() if (value := given[name]) and self.is_said(tag, name)
            ]
        elif not hushed:
            self.said += [value for name in ("aria-label", "title", "placeholder") if (value := given.get(name))]

    @staticmethod
    def is_said(tag: str, name: str) -> bool:
        return name != "value" or tag == "input"

    def handle_endtag(self, tag: str) -> None:
        while self.within and self.within.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self.is_silent and data.strip():
            self.said.append(" ".join(data.split()))

    @property
    def is_silent(self) -> bool:
        return bool(self.within) and self.within[-1][1]


CALLS = re.compile(r"\bsay\(((?:[^()]|\([^()]*\))*)\)")
STRINGS = re.compile(r'"([^"\\\n]*)"|\'([^\'\\\n]*)\'|`([^`\\$]*)`')


def without_comments(source: str) -> str:
    """The code alone. Comments stand behind a blank here, addresses in strings do not."""
    return re.sub(r"(^|\s)//[^\n]*|/\*.*?\*/", " ", source, flags=re.DOTALL)


def keys_said(source: str) -> set[str]:
    """The words that a script says by their names."""
    found = set()
    for call in CALLS.findall(without_comments(source)):
        first = call.split(", {")[0]
        compared = re.sub(r'[!=]== "[^"]*"', "", first)
        found |= {one or other for one, other, _ in STRINGS.findall(compared)}
    return found


def is_said_in(source: str, key: str) -> bool:
    """Whether a script names this word, or makes its name of a beginning and a variable."""
    beginnings = re.findall(r"\bsay\(`(\w+_)\$", source)
    return re.search(rf"""["'`]{key}["'`]""", source) is not None or key.startswith(tuple(beginnings))


# The catalogue


def catalogue(path: Path) -> dict[str, tuple[str, bool]]:
    """What stands in a `.po` file: the translation of each sentence, and whether it is only guessed."""
    found: dict[str, tuple[str, bool]] = {}
    for entry in path.read_text("utf-8").split("\n\n"):
        lines = [line for line in entry.splitlines() if not line.startswith("#~")]
        parts: dict[str, str] = {}
        name = ""
        for line in lines:
            if begins := re.match(r"(msgid_plural|msgid|msgstr(?:\[\d\])?|msgctxt) ", line):
                name = begins[1]
                line = line[begins.end() :]
            if line.startswith('"'):
                parts[name] = parts.get(name, "") + ast.literal_eval(line)
        is_fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in lines)
        said = parts.get("msgstr", parts.get("msgstr[0]", ""))
        for key in ("msgid", "msgid_plural"):
            if parts.get(key):
                found[parts[key]] = (said, is_fuzzy)
    return found


PLACES = re.compile(r"%\((\w+)\)[sd]|(?<!\{)\{(\w*)\}(?!\})|%[sd]")


def places_in(sentence: str) -> set[str]:
    """Where values are filled in."""
    return {found[0] for found in PLACES.finditer(sentence)}
