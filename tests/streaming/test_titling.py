"""What of a model's answer is a title. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given

from streaming.demo import title_for
from streaming.titling import CHARACTERS_SHOWN, LONGEST_TITLE, messages_for, question_in, title_in
from tests.cases import hundreds, texts


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Why the sky is blue", "Why the sky is blue"),
        ('  "Why the sky is blue."\n', "Why the sky is blue"),
        ("**Why the sky is blue**", "Why the sky is blue"),
        ("# Why the sky is blue", "Why the sky is blue"),
        ('Title: "Why the sky is blue"', "Why the sky is blue"),
        ("**Title: Why the sky is blue.**", "Why the sky is blue"),
        ("`asyncio` explained", "asyncio` explained"),
        ("标题：「天空为什么是蓝色的」。", "天空为什么是蓝色的"),
        ("《天空为什么是蓝色的》", "天空为什么是蓝色的"),
        ("“Der blaue Himmel”", "Der blaue Himmel"),
        ("<think>The user wants a title.\nLet me see.</think>\n\nBlue skies", "Blue skies"),
        ("What is 1 + 1?", "What is 1 + 1?"),
        ("Blue\u202e skies\x07", "Blue skies"),
        ("👩‍👩‍👧‍👦 at home", "👩‍👩‍👧‍👦 at home"),
    ],
)
def test_a_title_is_cleaned(answer: str, title: str) -> None:
    assert title_in(answer) == title


@pytest.mark.parametrize(
    "answer",
    ["", "  \n ", "…", '""', "***", "Here is a title:\nBlue skies", "<think>I wonder", "w" * (LONGEST_TITLE + 1)],
)
def test_what_is_no_title_is_left_alone(answer: str) -> None:
    assert title_in(answer) is None


@hundreds
@given(texts(60))
def test_a_title_is_one_short_line_whatever_was_said(answer: str) -> None:
    title = title_in(answer)
    assert title is None or (0 < len(title) <= LONGEST_TITLE and title == " ".join(title.split()))


def test_the_question_is_found_in_what_was_asked() -> None:
    asked = messages_for("Why is the sky blue?\n\nTell me.", "Because.")
    assert question_in(asked) == "Why is the sky blue?\n\nTell me."
    assert question_in([{"role": "user", "content": "Question:\nWhy?"}]) is None
    assert question_in([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]) is None


def test_of_a_book_the_beginning_is_shown() -> None:
    assert len(messages_for("q" * 1_000_000, "a" * 1_000_000)[1]["content"]) < 2 * CHARACTERS_SHOWN + 100


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Explain how a sourdough starter works, in five sentences", "Explain how a sourdough starter works"),
        ("What is 1.5 + 2?", "What is 1.5 + 2"),
        ("请解释一下天空为什么是蓝色的？谢谢", "请解释一下天空为什么是蓝"),
        ("", ""),
    ],
)
def test_the_demo_makes_a_title_of_the_question(question: str, title: str) -> None:
    assert title_for(question) == title
