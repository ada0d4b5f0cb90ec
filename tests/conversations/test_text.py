"""Text as every database can keep it, and the line that stands for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.text import REPLACEMENT, first_line, storable
from tests.cases import hundreds, texts, whole_texts


@hundreds
@given(texts(30))
def test_what_is_stored_can_be_stored_and_is_as_long_as_before(text: str) -> None:
    kept = storable(text)
    assert "\x00" not in kept
    assert kept.encode().decode() == kept
    assert len(kept) == len(text)
    assert storable(kept) == kept


@hundreds
@given(whole_texts(30))
def test_what_can_be_stored_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@pytest.mark.parametrize("code", [0, 0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_each_code_point_that_cannot_be_stored_is_replaced(code: int) -> None:
    assert storable(f"a{chr(code)}b") == f"a{REPLACEMENT}b"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" \n\t\n", ""),
        ("one\ntwo", "one"),
        ("\r\n  one \r\ntwo", "one"),
        ("## A heading", "A heading"),
        ("> - quoted item", "quoted item"),
        ("---", "---"),
        ("你好，世界\n再见", "你好，世界"),
        ("a  b\tc", "a b c"),
        ("one two three", "one two three"),
        ("one two three four", "one two…"),
        ("一二三四五六七八九十一二三", "一二三四五六七八九十一二三"),
        ("一二三四五六七八九十一二三四", "一二三四五六七八九十一二…"),
        ("https://example.org/a/long/way", "https://exam…"),
        ("😀" * 14, "😀" * 12 + "…"),
    ],
)
def test_the_first_line_with_words_is_shortened_between_them(text: str, line: str) -> None:
    assert first_line(text, 13) == line


@hundreds
@given(texts(30), st.integers(2, 20))
def test_a_first_line_is_one_line_no_longer_than_asked(text: str, limit: int) -> None:
    line = first_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert bool(line) is bool(text.strip())
