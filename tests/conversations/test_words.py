"""What the server says is said to readers of other languages in theirs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import translation

from conversations.words import SENTENCES, explained

#: Modules whose sentences end up in events and answers.
SPEAKERS = ["attempt", "refusals", "reply", "runner", "upstream"]
SENTENCE = re.compile(r"[A-Z][^.]* .*\.")


def sentences_of(module: str) -> Iterator[str]:
    """The sentences in a module that are no docstrings."""
    tree = ast.parse((Path(settings.BASE_DIR) / "streaming" / f"{module}.py").read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in documentation:
            continue
        if isinstance(node.value, str) and SENTENCE.fullmatch(node.value):
            yield node.value


@pytest.mark.parametrize("module", SPEAKERS)
def test_every_sentence_of_an_upstream_can_be_explained(module: str) -> None:
    found = list(sentences_of(module))
    assert found
    assert [sentence for sentence in found if sentence not in SENTENCES] == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence_is_there_in_chinese(sentence: str) -> None:
    with translation.override("zh-hans"):
        assert explained(sentence) != sentence


def test_the_time_in_a_sentence_is_kept_in_its_place() -> None:
    with translation.override("zh-hans"):
        said = explained("The server takes no more questions until 2026-05-04 14:32 UTC.")
        assert said == "服务器在 2026-05-04 14:32 UTC 之前不再接受提问。"


def test_what_is_not_known_stays_as_it_came() -> None:
    with translation.override("zh-hans"):
        assert explained("A title has at most 200 characters.") == "A title has at most 200 characters."
