"""Bytes cut anywhere are the same events."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.sse import BOM, EventStream, EventTooLarge
from tests.cases import cuts, hundreds, pieces_of

FRAGMENTS = (
    *(b"data: ", b"data:", b"data", b"data:  ", b"event: x", b"id: 1", b"retry: 5", b":", b": keep-alive", b"datax: y"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r", BOM, b"\xf0\x9f\x98\x80", b"\xff", b"\x00", b"{}", b" "),
    *(b"\x0b", b"\x0c", b"\x85", "\u2028".encode()),  # ends of lines for str, not for this format
)
streams = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=30).map(b"".join)


def reference(stream: bytes) -> list[bytes]:
    """The specification, read over the whole text at once."""
    events: list[bytes] = []
    data: list[bytes] = []
    # What follows the last end of a line is not a line yet.
    for line in re.split(rb"\r\n|\r|\n", stream.removeprefix(BOM))[:-1]:
        if line == b"":
            events += [b"\n".join(data)] if data else []
            data = []
        elif re.fullmatch(rb"data(:.*)?", line, re.DOTALL):
            data.append(line[5:].removeprefix(b" "))
    return events


def received(*pieces: bytes, limit: int = 1024 * 1024) -> list[bytes]:
    stream = EventStream(limit)
    return [event for piece in pieces for event in stream.receive_data(piece)]


@hundreds
@given(streams)
def test_a_stream_says_what_the_specification_reads_in_it(stream: bytes) -> None:
    assert received(stream) == reference(stream)


@hundreds
@given(streams, cuts())
@example(BOM + b"data: a\r\n\r\ndata: b\r\r", [1, 2, 11, 12, 13, 14])
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert received(*pieces_of(stream, cuts)) == reference(stream)


@hundreds
@given(streams)
def test_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    assert received(*(stream[i : i + 1] for i in range(len(stream)))) == reference(stream)


@hundreds
@given(st.lists(st.binary().map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"")), max_size=8), cuts())
def test_what_was_sent_is_what_comes_out_with_any_end_of_line(sent: list[bytes], cuts: list[int]) -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        stream = b"".join(b"data: " + data + end * 2 for data in sent)
        assert received(*pieces_of(stream, cuts)) == sent


def test_the_halves_of_a_line_end_are_one_line_end() -> None:
    assert received(b"data: a\r", b"\n\r", b"\n") == [b"a"]


def test_an_empty_read_between_the_halves_of_a_line_end_changes_nothing() -> None:
    assert received(b"data: a\r", b"", b"\ndata: b\n\n") == [b"a\nb"]


def test_a_mark_of_the_byte_order_counts_at_the_very_start_only() -> None:
    assert received(BOM[:1], BOM[1:] + b"data: a\n\n" + BOM + b"data: b\n\n") == [b"a"]


def test_an_event_that_the_end_of_the_stream_cuts_off_is_dropped() -> None:
    assert received(b"data: a\n\ndata: b\n") == [b"a"]


def test_one_space_after_the_colon_belongs_to_the_format() -> None:
    assert received(b"data:  a\n\ndata:b\n\ndata\n\n") == [b" a", b"b", b""]


# Limits


def test_an_event_as_large_as_the_limit_passes() -> None:
    assert received(b"data: 123456789\n\n", limit=17) == [b"123456789"]


def test_one_byte_more_than_the_limit_is_refused() -> None:
    with pytest.raises(EventTooLarge) as caught:
        received(b"data: 1234567890\n\n", limit=16)
    assert caught.value.limit == 16


@hundreds
@given(cuts())
def test_the_limit_holds_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    event = b"data: 12\ndata: 34567\n\n"
    assert received(*pieces_of(event, cuts), limit=len(event)) == [b"12\n34567"]
    with pytest.raises(EventTooLarge):
        received(*pieces_of(event, cuts), limit=len(event) - 2)


def test_the_limit_is_for_one_event_and_not_for_all() -> None:
    assert len(received(*[b"data: 123456789\n\n"] * 1000, limit=17)) == 1000


def test_a_line_without_an_end_is_refused_at_the_limit() -> None:
    with pytest.raises(EventTooLarge):
        received(*[b"x" * 10] * 11, limit=100)


@pytest.mark.parametrize("comment", [b": keep-alive\n", b": keep-alive\n\n", b":\r\n", b"event: ping\n", b"id: 5\n"])
def test_comments_never_add_up(comment: bytes) -> None:
    stream = EventStream(100)
    for _ in range(1000):
        assert stream.receive_data(comment) == []
    assert stream.receive_data(b"data: a\n\n") == [b"a"]


def test_comments_in_the_middle_of_an_event_do_not_add_up_either() -> None:
    assert received(b"data: a\n", *[b": keep-alive\n"] * 1000, b"data: b\n\n", limit=100) == [b"a\nb"]


def test_data_lines_of_one_event_do_add_up() -> None:
    with pytest.raises(EventTooLarge):
        received(*[b"data: a\n: keep-alive\n"] * 100, limit=100)
