"""A reply is fed and drained: what comes out is what was said, in one piece and to the end."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from collections import defaultdict
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.status import Status
from streaming import reply as reply_module
from streaming.chunks import Chunk, Usage
from streaming.reply import PARTS, Gain, GrowingText, Part, Reply
from tests.cases import hundreds, texts, whole_texts

parts = st.sampled_from(PARTS)


def drained(reply: Reply) -> dict[Part, str]:
    """What the gains join to; each must begin where the one before it ended."""
    told: dict[Part, str] = defaultdict(str)
    for gain in reply.gains_to_store():
        assert gain.start == len(told[gain.part])
        assert gain.end == gain.start + len(gain.text)
        told[gain.part] += gain.text
    return told


def said_by(*deltas: str, **options: int) -> str:
    reply = Reply(**options)  # type: ignore[arg-type]
    for delta in deltas:
        reply.receive_delta("text", delta)
    return str(reply.said["text"])


# A text that only grows


@hundreds
@given(
    st.lists(whole_texts()),
    st.lists(st.tuples(st.integers(-3, 40), st.none() | st.integers(-3, 40)), max_size=10),
    st.integers(1, 5),
)
def test_a_growing_text_is_read_from_anywhere_to_anywhere(
    pieces: list[str], ranges: list[tuple[int, int | None]], most: int
) -> None:
    growing, whole = GrowingText(), "".join(pieces)
    with mock.patch.object(reply_module, "MOST_PIECES", most):
        for piece in pieces:
            growing.append(piece)
    for start, end in ranges:
        expected = whole[max(start, 0) : None if end is None else max(end, 0)]
        assert growing.since(start, end) == expected
    assert growing.end == len(whole)
    assert str(growing) == whole


@hundreds
@given(whole_texts(), whole_texts(), st.integers(0, 30))
def test_a_growing_text_goes_on_after_it_was_read_whole(first: str, more: str, start: int) -> None:
    growing = GrowingText(first)
    assert str(growing) == first
    growing.append(more)
    assert growing.since(start) == (first + more)[start:]
    assert str(growing) == first + more


def test_a_text_of_many_small_pieces_takes_little_more_than_itself() -> None:
    growing = GrowingText("Begun. ")
    tracemalloc.start()
    try:
        for number in range(100_000):
            growing.append(f"{number % 10_000:04d}")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert growing.end == 400_007
    assert taken < 2 * growing.end


# Feed and drain


@hundreds
@given(st.lists(st.tuples(parts, texts(), st.booleans())), whole_texts())
def test_gains_are_contiguous_and_join_to_what_was_said(deltas: list[tuple[Part, str, bool]], prefix: str) -> None:
    reply = Reply(prefix=prefix)
    told: dict[Part, str] = {"text": prefix, "reasoning": ""}
    for part, text, drain in deltas:
        reply.receive_delta(part, text)
        for gain in reply.gains_to_store() if drain else []:
            assert gain.start == len(told[gain.part])
            told[gain.part] += gain.text
    for gain in reply.gains_to_store():
        assert gain.start == len(told[gain.part])
        told[gain.part] += gain.text
    assert told == {part: str(said) for part, said in reply.said.items()}
    assert reply.gains_to_store() == []


@hundreds
@given(st.lists(texts()))
def test_whatever_is_said_can_be_stored_and_encoded(deltas: list[str]) -> None:
    said = said_by(*deltas)
    assert "\x00" not in said
    assert said.encode().decode() == said


@hundreds
@given(texts(30), st.lists(st.integers(0, 100), max_size=8))
def test_any_cut_says_the_same(text: str, cuts: list[int]) -> None:
    """Also in the middle of what is one character for Python and two for JavaScript."""
    units = re.findall("(?s:.)", text)
    halves = "".join(
        unit if ord(unit) < 0x10000 else unit.encode("utf-16-be").decode("utf-16-be", "surrogatepass") for unit in units
    )
    as_in_javascript = "".join(map(chr, memoryview(halves.encode("utf-16-le", "surrogatepass")).cast("H")))
    places = [0, *sorted(cut % (len(as_in_javascript) + 1) for cut in cuts), len(as_in_javascript)]
    deltas = [as_in_javascript[start:end] for start, end in itertools.pairwise(places)]
    assert said_by(*deltas) == said_by(text)


def test_the_halves_of_an_emoji_in_two_chunks_are_one_character() -> None:
    assert said_by("a\ud83d", "\ude00b") == "a😀b"


def test_half_an_emoji_waits_for_its_other_half() -> None:
    reply = Reply()
    reply.receive_delta("text", "a\ud83d")
    assert drained(reply)["text"] == "a"


def test_a_line_break_after_half_an_emoji_is_kept() -> None:
    assert said_by("a\ud83d\n", "b") == "a\N{REPLACEMENT CHARACTER}\nb"


def test_an_empty_delta_between_the_halves_changes_nothing() -> None:
    assert said_by("\ud83d", "", "\ude00") == "😀"


def test_halves_of_different_parts_do_not_meet() -> None:
    reply = Reply()
    reply.receive_delta("text", "\ud83d")
    reply.receive_delta("reasoning", "\ude00")
    reply.receive_delta("text", "\ude00")
    assert str(reply.said["text"]) == "😀"
    assert str(reply.said["reasoning"]) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("wrong", ["\x00", "\ude00"])
def test_what_cannot_be_stored_is_replaced_by_one_character(wrong: str) -> None:
    assert said_by(f"a{wrong}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_a_half_that_is_followed_by_something_else_is_replaced() -> None:
    assert said_by("\ud83d", "b") == "\N{REPLACEMENT CHARACTER}b"


def test_a_mark_of_the_byte_order_is_a_character_like_others() -> None:
    assert said_by("\ufeffa\ud83d", "\ude00\ufeff") == "\ufeffa😀\ufeff"


# The limit


@pytest.mark.parametrize(("length", "kept", "full"), [(9, 9, False), (10, 10, True), (11, 10, True)])
@pytest.mark.parametrize("part", PARTS)
def test_a_reply_ends_at_the_limit(part: Part, length: int, kept: int, full: bool) -> None:
    reply = Reply(max_characters=10)
    for character in "😀" * length:
        reply.receive_delta(part, character)
    assert (reply.said[part].end, reply.is_full) == (kept, full)


@hundreds
@given(st.lists(texts()), st.integers(0, 20), whole_texts())
def test_no_reply_is_longer_than_the_limit(deltas: list[str], limit: int, prefix: str) -> None:
    reply = Reply(prefix=prefix, max_characters=limit)
    for delta in deltas:
        reply.receive_delta("text", delta)
    assert str(reply.said["text"]) == (prefix + said_by(*deltas))[: max(limit, len(prefix))]


def test_a_reply_at_the_limit_is_done_by_length() -> None:
    reply = Reply(max_characters=3)
    reply.receive_chunk(Chunk(text="four"))
    ending = reply.ending()
    assert (ending.status, ending.finish_reason, ending.error) == (Status.DONE, "length", None)


# What is stored


def test_nothing_counts_as_stored_before_it_is() -> None:
    reply = Reply()
    reply.receive_delta("text", "Hello")
    gains = reply.gains_to_store()
    assert reply.stored == {"text": 0, "reasoning": 0}
    reply.receive_stored(gains)
    assert reply.stored == {"text": 5, "reasoning": 0}


def test_gains_that_are_on_their_way_are_not_given_twice() -> None:
    reply = Reply()
    reply.receive_delta("text", "Hello")
    first = reply.gains_to_store()
    reply.receive_delta("text", " you")
    assert (first, reply.gains_to_store()) == ([Gain("text", 0, "Hello")], [Gain("text", 5, " you")])


def test_a_reply_that_has_become_its_message_is_stored_as_a_whole() -> None:
    reply = Reply(prefix="Once ")
    reply.receive_delta("text", "upon")
    reply.receive_all_stored()
    assert reply.stored["text"] == 9


def test_what_a_continued_reply_begins_with_is_no_gain() -> None:
    reply = Reply(prefix="Once ")
    reply.receive_delta("text", "upon")
    assert reply.gains_to_store() == [Gain("text", 5, "upon")]


# Chunks


@pytest.mark.parametrize(
    ("chunk", "seen"),
    [
        (Chunk(), False),
        (Chunk(usage=Usage(1, 1)), False),
        (Chunk(finish_reason="stop"), False),
        (Chunk(tool_call=True), False),
        (Chunk(text="a"), True),
        (Chunk(reasoning="a"), True),
    ],
)
def test_only_words_count_as_something_to_see(chunk: Chunk, seen: bool) -> None:
    assert Reply().receive_chunk(chunk) is seen


def test_usage_and_finish_reason_stay_when_later_chunks_have_none() -> None:
    reply = Reply()
    for chunk in (Chunk(finish_reason="stop", usage=Usage(3, 4)), Chunk()):
        reply.receive_chunk(chunk)
    assert (reply.finish_reason, reply.usage) == ("stop", Usage(3, 4))


@pytest.mark.parametrize("reason", ["\ud83d", "sto\x00p"])
def test_a_finish_reason_that_cannot_be_stored_is_made_so(reason: str) -> None:
    reply = Reply()
    reply.receive_chunk(Chunk(text="a", finish_reason=reason))
    reason = reply.ending().finish_reason
    assert "\N{REPLACEMENT CHARACTER}" in reason
    assert "\x00" not in reason.encode().decode()


# Endings


def ended(*chunks: Chunk, saw_done: bool = False, prefix: str = "") -> tuple[Status, str, str]:
    reply = Reply(prefix=prefix, saw_done=saw_done)
    for chunk in chunks:
        reply.receive_chunk(chunk)
    ending = reply.ending()
    return ending.status, ending.finish_reason, ending.code


def test_done_needs_the_words_of_the_provider() -> None:
    assert ended(Chunk(text="a", finish_reason="stop")) == (Status.DONE, "stop", "")
    assert ended(Chunk(text="a"), saw_done=True) == (Status.DONE, "stop", "")
    assert ended(Chunk(text="a", finish_reason="length")) == (Status.DONE, "length", "")


def test_a_stream_that_just_ends_is_interrupted() -> None:
    assert ended(Chunk(text="a")) == (Status.INTERRUPTED, "", "cut_off")
    assert ended(Chunk(reasoning="a")) == (Status.INTERRUPTED, "", "cut_off")


def test_a_stream_that_ends_before_a_word_has_failed() -> None:
    assert ended() == (Status.FAILED, "", "cut_off")


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_an_empty_reply_has_failed(reason: str) -> None:
    assert ended(Chunk(finish_reason=reason)) == (Status.FAILED, reason, "empty")


def test_reasoning_alone_is_no_answer() -> None:
    assert ended(Chunk(reasoning="hm", finish_reason="length")) == (Status.FAILED, "length", "empty")


def test_a_continued_reply_that_adds_nothing_has_failed() -> None:
    assert ended(Chunk(finish_reason="stop"), prefix="Once ") == (Status.FAILED, "stop", "empty")


def test_each_empty_reply_has_a_sentence_of_its_own() -> None:
    chunks = [Chunk(finish_reason=reason) for reason in ("stop", "length", "content_filter")]
    chunks.append(Chunk(finish_reason="tool_calls", tool_call=True))
    sentences = set()
    for chunk in chunks:
        reply = Reply()
        reply.receive_chunk(chunk)
        sentences.add(reply.ending().detail)
    assert len(sentences) == 4


def test_a_reply_that_breaks_off_keeps_its_words_or_has_failed() -> None:
    speaking, silent = Reply(), Reply(prefix="Once ")
    speaking.receive_chunk(Chunk(reasoning="hm"))
    assert speaking.broken_off("reset", "The connection broke.").status == Status.INTERRUPTED
    assert silent.broken_off("reset", "The connection broke.").status == Status.FAILED


def test_an_error_says_whether_another_try_makes_sense() -> None:
    error = Reply().broken_off("auth", "The key is wrong.", retryable=False).error
    assert error == {"code": "auth", "detail": "The key is wrong.", "retryable": False}


@hundreds
@given(
    st.lists(
        st.builds(
            Chunk,
            text=texts(3),
            reasoning=texts(3),
            finish_reason=st.sampled_from(("", "", "stop", "length", "content_filter")),
            tool_call=st.booleans(),
        ),
        max_size=6,
    ),
    st.booleans(),
    st.integers(1, 10),
)
def test_every_ending_is_terminal_and_done_only_with_words_and_a_signal(
    chunks: list[Chunk], saw_done: bool, limit: int
) -> None:
    reply = Reply(saw_done=saw_done, max_characters=limit)
    for chunk in chunks:
        reply.receive_chunk(chunk)
    ending = reply.ending()
    assert ending.status.is_terminal
    if ending.status == Status.DONE:
        assert reply.finish_reason or saw_done or reply.is_full
        assert reply.has_spoken
    else:
        assert ending.code
        assert ending.detail
    assert (ending.status == Status.INTERRUPTED) <= reply.has_spoken


def test_a_reply_begins_once() -> None:
    reply = Reply()
    reply.begin()
    with pytest.raises(ValueError, match="cannot go from streaming to streaming"):
        reply.begin()
