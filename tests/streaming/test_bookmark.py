"""Where a reader stands: written, read again, and moved by what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from streaming import events
from streaming.bookmark import Bookmark
from streaming.events import MOST_SYNCED


def after(bookmark: Bookmark, *sent: dict[str, Any] | str) -> str:
    for event in sent:
        bookmark.receive(event if isinstance(event, str) else events.encode(event))
    return str(bookmark)


def created(version: int, role: str = "assistant", text: str = "") -> dict[str, Any]:
    message = {"id": "42", "role": role, "text": text, "reasoning": ""}
    return {"type": "message_created", "version": version, "message": message}


def ended(version: int, length: int) -> dict[str, Any]:
    return {"type": "reply_ended", "version": version, "reply": "42", "length": length}


SNAPSHOT = {
    "type": "conversation_snapshot",
    "version": 7,
    "replies": [{"type": "reply_snapshot", "reply": "42", "text": "Hello", "text_end": 5, "reasoning_end": 3}],
}


@pytest.mark.parametrize("text", ["0", "7", "7,42.0.0", "7,42.1200.300,43.1.0"])
def test_what_was_written_is_read_again(text: str) -> None:
    assert str(Bookmark.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "7,",
        "7,42",
        "7,42.1",
        "7,42.1.2.3",
        "7,42.a.0",
        "7, 42.1.2",
        "７",
        "9" * 30,
        "7" + ",1.1.1" * 101,
    ],
)
def test_what_is_no_bookmark_is_none(text: str) -> None:
    assert Bookmark.parse(text) is None


def test_it_may_stand_in_an_address() -> None:
    for query in (b"version=7,42.5.0", b"a=b&version=7%2C42.5.0&protocol=1"):
        assert str(Bookmark.in_query(query)) == "7,42.5.0"
    assert Bookmark.in_query(b"version=") is Bookmark.in_query(b"\xff&&=") is None


def test_a_snapshot_says_where_all_its_replies_stand() -> None:
    assert after(Bookmark(3, {"1": events.Have(9, 9)}), SNAPSHOT) == "7,42.5.3"


def test_deltas_move_the_part_that_they_are_of() -> None:
    bookmark = Bookmark()
    assert after(bookmark, SNAPSHOT, events.reply_delta(42, "text", 5, " 🙂")) == "7,42.7.3"
    assert after(bookmark, events.reply_delta(42, "reasoning", 3, "ab")) == "7,42.7.5"


def test_a_delta_beyond_a_gap_moves_nothing() -> None:
    assert after(Bookmark(), SNAPSHOT, events.reply_delta(42, "text", 6, "x")) == "7,42.5.3"


def test_a_delta_that_was_known_in_part_moves_to_its_end() -> None:
    assert after(Bookmark(), SNAPSHOT, events.reply_delta(42, "text", 3, "lo you")) == "7,42.9.3"


def test_a_new_reply_stands_at_its_beginning_and_an_ended_one_nowhere() -> None:
    bookmark = Bookmark(6)
    assert after(bookmark, created(7, "user", "Hi")) == "7"
    assert after(bookmark, created(8)) == "8,42.0.0"
    assert after(bookmark, events.reply_delta(42, "text", 0, "Hi")) == "8,42.2.0"
    assert after(bookmark, ended(9, 2)) == "9"


def test_a_reply_that_comes_whole_needs_no_more() -> None:
    bookmark = Bookmark(6)
    after(bookmark, created(7, text="Hello"))
    assert bookmark.lacks(events.encode(ended(8, 5))) is None


def test_of_a_long_message_the_rest_is_still_to_come() -> None:
    long = {"id": "41", "role": "assistant", "text": "Hello", "reasoning": "", "length": 8, "reasoning_length": 0}
    bookmark = Bookmark()
    assert after(bookmark, {**SNAPSHOT, "messages": [long], "replies": []}) == "7,41.5.0"
    assert after(bookmark, events.reply_delta(41, "text", 5, " y")) == "7,41.7.0"
    assert after(bookmark, events.reply_delta(41, "text", 7, "o")) == "7"


def test_a_long_reply_that_has_ended_is_followed_until_its_end_is_told() -> None:
    bookmark = Bookmark(6)
    begun = created(7, text="Hello")
    begun["message"] |= {"length": 8, "reasoning_length": 0}
    assert after(bookmark, begun, events.reply_delta(42, "text", 5, " yo")) == "7,42.8.0"
    assert bookmark.lacks(events.encode(ended(8, 8))) is None
    assert after(bookmark, ended(8, 8)) == "8"


@pytest.mark.parametrize(("have", "length", "lacking"), [(5, 5, None), (4, 5, "42"), (0, 0, None), (None, 1, "42")])
def test_an_end_that_comes_before_its_text_is_noticed(have: int | None, length: int, lacking: str | None) -> None:
    bookmark = Bookmark(6, {} if have is None else {"42": events.Have(have)})
    assert bookmark.lacks(events.encode(ended(7, length))) == lacking


def test_events_that_it_does_not_know_change_nothing() -> None:
    assert after(Bookmark(7), {"type": "presence", "present": []}, {"type": "pong", "ref": 1}) == "7"
    assert str(Bookmark()) == ""


def test_it_does_not_grow_without_end() -> None:
    replies = {str(pk): events.Have(1, 1) for pk in range(MOST_SYNCED + 50)}
    read = Bookmark.parse(str(Bookmark(7, replies)))
    assert read is not None
    assert list(read.replies) == list(replies)[50:]
