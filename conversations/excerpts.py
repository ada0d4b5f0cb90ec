"""The part of a text that shows why it was found, and where in it the hits are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .search import LONGEST_TEXT, WITHOUT_BLANKS, Query, folded, parse

BLANK = re.compile(r"\s")


@dataclass(frozen=True)
class Excerpt:
    """A part of a text on one line, and where in it the hits are: `(start, end)`, in code points."""

    text: str
    marks: list[tuple[int, int]]


def excerpt(text: str, query: str, length: int = 160) -> Excerpt:
    """Return at most `length` characters around the first hit; of a text without any, its beginning."""
    marks = marks_in(text, query)
    start = beginning_of_part(text, marks[0][0] - length // 4, length // 8) if marks else 0
    end = end_of_part(text, start + length, length // 8)
    before, after = "…" * (start > 0), "…" * (end < len(text))
    shift = len(before) - start
    return Excerpt(
        before + BLANK.sub(" ", text[start:end]) + after,
        [(first + shift, min(last, end) + shift) for first, last in marks if first < end],
    )


def beginning_of_part(text: str, place: int, near: int) -> int:
    """Return where the next word begins, if that is near."""
    if place <= 0:
        return 0
    blank = BLANK.search(text, place - 1, place + near)
    return blank.end() if blank else place


def end_of_part(text: str, place: int, near: int) -> int:
    """Return where the last word ends, if that is near."""
    if place >= len(text):
        return len(text)
    blanks = list(BLANK.finditer(text, max(place - near, 0), place + 1))
    return blanks[-1].start() if blanks else place


def marks_in(text: str, query: str) -> list[tuple[int, int]]:
    """Return where a text has what a query looks for, in order, and none within another."""
    pattern = pattern_of(parse(query))
    if pattern is None:
        return []
    said, starts, ends = with_places(text[:LONGEST_TEXT])
    marks: list[tuple[int, int]] = []
    for found in pattern.finditer(said):
        start, end = starts[found.start(1)], ends[found.end(1) - 1]
        if marks and start <= marks[-1][1]:
            start, end = marks[-1][0], max(marks.pop()[1], end)
        marks.append((start, end))
    return marks


# A letter with what is put on it: accents, Hangul's vowels and finals, marks of kana.
LETTER = re.compile("(?s).[\u0300-\u036f\u1160-\u11ff\u3099\u309a\uff9e\uff9f]*")


def with_places(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """Return a text as it is compared, and where each of its characters begins and ends in `text`."""
    whole = folded(text)
    if len(whole) == len(text):
        return whole, range(len(text)), range(1, len(text) + 1)
    letters = [(folded(letter[0]), letter) for letter in LETTER.finditer(text)]
    return (
        "".join(shown for shown, _ in letters),
        [letter.start() for shown, letter in letters for _ in shown],
        [letter.end() for shown, letter in letters for _ in shown],
    )


def pattern_of(query: Query) -> re.Pattern[str] | None:
    """Return what finds the terms of a query in a text, those that overlap too."""
    if not query:
        return None
    wholes = [f"{in_text(term)}{END}" for term in sorted(query.terms, key=len, reverse=True)]
    beginnings = map(in_text, query.beginnings)
    return re.compile(f"(?=({'|'.join([*beginnings, *wholes])}))")


#: Behind the last letter of a word. What needs no blanks ends anywhere.
END = rf"(?:(?<=[{WITHOUT_BLANKS}])|(?![^\W_{WITHOUT_BLANKS}]))"
BEGINNING = rf"(?:(?=[{WITHOUT_BLANKS}])|(?<![^\W_{WITHOUT_BLANKS}]))"


def in_text(term: str) -> str:
    """Return the pattern of a word, or of two with punctuation between them."""
    return BEGINNING + r"(?:(?!\s)[\W_])*".join(term.split("_"))
