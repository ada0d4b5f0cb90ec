"""A reader who was told by the store what its room does not know yet: that a reply has ended, which the room still holds."""

from __future__ import annotations

import pytest

from streaming.cursors import CatchUp, Reader, Wanted
from streaming.rooms import Beginning, LiveReply, Room
from tests.streaming.test_cursors import a_change, a_reader, frames_of

WHOLE = "One, two, three."
KNOWN = "One, two, "


@pytest.fixture
def room() -> Room:
    """At version 3, with a reply that runs elsewhere as far as was heard of it."""
    room = Room("c", 3)
    room.replies[7] = LiveReply.mirror(7, KNOWN)
    return room


@pytest.fixture
def reader(room: Room) -> Reader:
    """It was told the end of the reply, version 4, from the store."""
    reader = a_reader(room, 10_000)
    reader.receive_catch_up(CatchUp(4, [a_change(4)], {}, []))
    assert [frame["type"] for frame in frames_of(reader)] == ["conversation_changed"]
    return reader


def test_it_is_not_told_from_the_beginning_what_has_ended(reader: Reader) -> None:
    assert frames_of(reader) == []


def test_what_it_asks_for_then_is_for_the_store_to_say(reader: Reader, room: Room) -> None:
    assert reader.ask_for({7: {"text": 0, "reasoning": 0}})
    assert reader.to_read() == Wanted(replies={7: {"text": 0, "reasoning": 0}})
    # Meanwhile the room has heard of it.
    mirror = room.replies[7]
    mirror.become_whole(WHOLE, "")
    room.remember(a_change(4, mirror))
    place = Beginning(7, {"text": 0, "reasoning": 0}, {"text": len(WHOLE), "reasoning": 0})
    reader.receive_catch_up(CatchUp(None, [], {}, [place]))
    window = reader.to_read()
    assert window is not None
    assert not isinstance(window, Wanted)
    reader.receive_window(window, WHOLE)
    assert [frame["text"] for frame in frames_of(reader)] == [WHOLE]


def test_it_goes_on_when_the_room_is_where_it_is(reader: Reader, room: Room) -> None:
    room.remember(a_change(4, room.replies[7]))
    room.replies[8] = LiveReply.mirror(8, "Hello")
    assert [frame["text"] for frame in frames_of(reader)] == ["Hello"]
