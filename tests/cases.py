"""Cases by the hundred: what hypothesis draws from, and how many of them are tried."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections
from hypothesis import settings
from hypothesis import strategies as st

T = TypeVar("T")

#: For tests that take microseconds; a machine that is busy must not fail them.
hundreds = settings(max_examples=200, deadline=None)
#: For tests that render, or ask a database.
dozens = settings(max_examples=60, deadline=None)

#: Half of an emoji each, NUL, what lies beyond 16 bits, what is no character, and marks that look like the start of a file.
TRICKY = ("\ud83d", "\ude00", "\x00", "😀", "𠮷", "e\u0301", "\ufeff", "\ufffe", "\u2028", "你好", "👩‍👩‍👧‍👦")
KEPT = st.characters(codec="utf-8", exclude_characters="\x00")


def texts(max_size: int = 12) -> st.SearchStrategy[str]:
    """Texts as browsers and models make them, halves of emoji included."""
    tricky = st.lists(st.sampled_from((*TRICKY, "a", "b", " ", "\n")), max_size=max_size).map("".join)
    return tricky | st.text(st.characters(exclude_categories=()), max_size=max_size)


def whole_texts(max_size: int = 12) -> st.SearchStrategy[str]:
    """Texts that every database can keep."""
    return st.text(st.sampled_from("ab \n😀你\u2028\ufeff"), max_size=max_size) | st.text(KEPT, max_size=max_size)


def jsons() -> st.SearchStrategy[object]:
    """JSON of all shapes."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts()
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(4), inner, max_size=3)
    )


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cuts bytes at these places, wherever they are."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def cuts() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 10_000), max_size=8)


def together(work: Callable[[int], T], count: int = 8) -> list[T]:
    """Does `work(number)` on so many threads at the same moment, each with a connection of its own."""
    ready = threading.Barrier(count)

    def one(number: int) -> T:
        ready.wait()
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def moment() -> None:
    """Let what comes next be later than what was, also by SQLite's clock, which tells milliseconds."""
    time.sleep(0.002)
