"""Readers of every kind, in two processes, hints lost, doubled and late: in the end each has exactly the text."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streaming import cursors, events
from streaming.cursors import LONGEST_DELTA, LONGEST_LOG, Entry, LiveReply, Reader, Room
from streaming.reply import PARTS, Gain, Part, Reply
from tests.cases import whole_texts

BOUND = 400
Texts = dict[Part, str]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def a_reader(room: Room | None = None, max_unacked: int = BOUND) -> Reader:
    return Reader(lambda: None, user_id=1, session_key="", max_unacked=max_unacked, room=room)


def a_reader_from(room: Room, version: int = 0) -> Reader:
    """One that stands at `version` and has nothing of any reply."""
    reader = a_reader(room)
    reader.tell_from(version, {})
    return reader


def frames_of(reader: Reader) -> list[dict[str, Any]]:
    """All that it is sent when it takes everything in at once."""
    frames = []
    while (frame := reader.frame_to_send(0.0)) is not None:
        frames.append(json.loads(frame))
        reader.receive_ack(reader.sent)
    return frames


def a_change(version: int, ended: LiveReply | None = None) -> Entry:
    return Entry(version, events.encode({"type": "conversation_changed", "version": version}), ended)


class Tab:
    """A client that knows the protocol's rule of positions and versions, and nothing else."""

    def __init__(self) -> None:
        self.version = 0
        self.texts: dict[str, Texts] = defaultdict(lambda: {"text": "", "reasoning": ""})
        self.lacks: set[str] = set()
        self.running: set[str] = set()

    def receive(self, event: dict[str, Any], is_live: bool) -> None:
        match event["type"]:
            case "conversation_snapshot":
                self.version = event["version"]
                self.running = set(event["running"])
                self.texts.clear()
                self.texts.update({pk: dict(texts) for pk, texts in event["texts"].items()})
            case "reply_delta":
                self.receive_delta(event)
            case "reply_ended" if self.is_new(event):
                self.receive_end(event, is_live)
            case "message_created" if self.is_new(event):
                self.running.add(event["reply"])
            case _:
                self.is_new(event)

    def is_new(self, event: dict[str, Any]) -> bool:
        assert event["version"] <= self.version + 1, "the versions have a gap"
        is_new: bool = event["version"] > self.version
        self.version += is_new
        return is_new

    def receive_delta(self, event: dict[str, Any]) -> None:
        texts, part = self.texts[event["reply"]], event["part"]
        assert event["end"] == event["start"] + len(event["text"])
        if event["start"] == len(texts[part]):
            texts[part] += event["text"]
        elif event["end"] > len(texts[part]):
            self.lacks.add(event["reply"])

    def receive_end(self, event: dict[str, Any], is_live: bool) -> None:
        self.running.discard(event["reply"])
        text = self.texts[event["reply"]]["text"]
        if digest(text) != event["sha256"]:
            assert not is_live or event["reply"] in self.lacks, "the end came before the text"
            self.lacks.add(event["reply"])


@dataclass(eq=False)
class Seat:
    """A reader, the tab at the other end, and what is between them."""

    room: Room
    reader: Reader
    tab: Tab
    sizes: list[int] = field(default_factory=list)
    acked: int = 0
    told: int = 0
    snapshot: dict[str, Any] | None = None

    def tell(self, event: dict[str, Any]) -> None:
        self.reader.tell(events.encode(event))
        self.told += 1

    def take(self) -> bool:
        is_full = sum(self.sizes[self.acked :]) > BOUND
        frame = self.reader.frame_to_send(0.0)
        if frame is None:
            return False
        assert self.told or not is_full, "more was sent than may be on its way"
        self.sizes.append(len(frame))
        self.tab.receive(json.loads(frame), is_live=not self.told)
        self.told = max(self.told - 1, 0)
        return True

    def ack(self, frames: int) -> None:
        self.acked = min(self.acked + frames, len(self.sizes))
        assert self.reader.receive_ack(self.acked)


class Store:
    """What is committed: the truth."""

    def __init__(self) -> None:
        self.log: list[tuple[dict[str, Any], int | None]] = []
        self.pieces: dict[int, list[Gain]] = {}
        self.ended: dict[int, Texts] = {}

    @property
    def version(self) -> int:
        return len(self.log)

    def record(self, kind: str, ended: int | None = None, **fields: Any) -> None:
        self.log.append(({"type": kind, "version": self.version + 1, **fields}, ended))

    def texts(self, pk: int) -> Texts:
        pieces = self.pieces.get(pk, [])
        return self.ended.get(pk) or {part: "".join(g.text for g in pieces if g.part == part) for part in PARTS}

    def snapshot(self) -> dict[str, Any]:
        texts = {str(pk): self.texts(pk) for pk in (*self.pieces, *self.ended)}
        running = {pk: {part: len(text) for part, text in self.texts(pk).items()} for pk in self.pieces}
        return {"type": "conversation_snapshot", "version": self.version, "texts": texts, "running": running}


class House(RuleBasedStateMachine):
    """Two processes with a room each: replies run in the one and are mirrored in the other."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = [mock.patch.object(cursors, "LONGEST_DELTA", 7), mock.patch.object(cursors, "LONGEST_LOG", 5)]
        for patch in self.patches:
            patch.start()
        self.store = Store()
        self.home, self.far = Room("home"), Room("far")
        self.replies: dict[int, Reply] = {}
        self.own: dict[int, LiveReply] = {}
        self.hints: list[tuple[int, Gain]] = []
        self.seats: list[Seat] = []
        self.count = 0

    # Replies

    @precondition(lambda self: len(self.replies) < 3)
    @rule(loads=st.booleans())
    def a_reply_begins(self, loads: bool) -> None:
        self.count += 1
        reply = self.replies[self.count] = Reply()
        self.own[self.count] = LiveReply(self.count, reply.said, reply.stored)
        self.store.pieces[self.count] = []
        self.store.record("message_created", reply=str(self.count))
        self.home.replies[self.count] = self.own[self.count]
        if loads:
            self.load(self.home)
            self.load(self.far)

    @precondition(lambda self: self.replies)
    @rule(pick=st.integers(0, 9), part=st.sampled_from(PARTS), text=whole_texts(30), stored=st.booleans())
    def a_reply_says(self, pick: int, part: Part, text: str, stored: bool) -> None:
        pk = self.running(pick)
        self.replies[pk].receive_delta(part, text)
        if stored:
            self.commit(pk)

    def commit(self, pk: int) -> None:
        gains = self.replies[pk].gains_to_store()
        self.store.pieces[pk] += gains
        self.replies[pk].receive_stored(gains)
        self.hints += [(pk, gain) for gain in gains]

    @precondition(lambda self: self.replies)
    @rule(pick=st.integers(0, 9), is_seen_early=st.booleans())
    def a_reply_ends(self, pick: int, is_seen_early: bool) -> None:
        pk = self.running(pick)
        reply = self.replies.pop(pk)
        texts: Texts = {part: str(said) for part, said in reply.said.items()}
        self.store.ended[pk] = texts
        del self.store.pieces[pk]
        text = texts["text"]
        self.store.record("reply_ended", ended=pk, reply=str(pk), length=len(text), sha256=digest(text))
        if is_seen_early:
            self.load(self.home)
        reply.receive_all_stored()
        self.own.pop(pk).become_mirror()

    @rule(times=st.integers(1, 8))
    def the_title_changes(self, times: int) -> None:
        for _ in range(times):
            self.store.record("conversation_changed")

    def running(self, pick: int) -> int:
        return list(self.replies)[pick % len(self.replies)]

    # Hints, and the safety net under them

    @precondition(lambda self: self.hints)
    @rule(pick=st.integers(0, 99), fate=st.sampled_from(("arrives", "is doubled", "is lost")))
    def a_hint(self, pick: int, fate: str) -> None:
        place = pick % len(self.hints)
        pk, gain = self.hints[place] if fate == "is doubled" else self.hints.pop(place)
        live = self.far.replies.get(pk)
        if live is not None and fate != "is lost":
            live.receive(gain.part, gain.start, gain.text)

    @rule(is_home=st.booleans())
    def a_process_looks_at_the_versions(self, is_home: bool) -> None:
        self.load(self.home if is_home else self.far)

    @rule()
    def the_far_process_looks_at_the_pieces(self) -> None:
        for pk, live in self.far.replies.items():
            for gain in self.store.pieces.get(pk, []):
                assert live.receive(gain.part, gain.start, gain.text), "the pieces have a gap"

    def load(self, room: Room) -> None:
        """As the hub does."""
        if self.store.version - room.version > cursors.LONGEST_LOG:
            room.forget(self.store.version)
            return
        for pk in self.store.pieces:
            if pk not in room.replies:
                room.replies[pk] = self.live(room, pk)
        for event, ended in self.store.log[room.version :]:
            live = None
            if ended is not None:
                live = room.replies.get(ended) or LiveReply.mirror(ended)
                live.become_whole(**self.store.ended[ended])
            room.remember(Entry(event["version"], events.encode(event), live))

    def live(self, room: Room, pk: int) -> LiveReply:
        return self.own[pk] if room is self.home else LiveReply.mirror(pk, **self.store.texts(pk))

    # Readers

    @precondition(lambda self: len(self.seats) < 4)
    @rule(is_home=st.booleans())
    def a_reader_comes(self, is_home: bool) -> None:
        room = self.home if is_home else self.far
        seat = Seat(room, a_reader(room), Tab(), snapshot=self.store.snapshot())
        room.readers.add(seat.reader)
        self.seats.append(seat)

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9))
    def a_snapshot_arrives(self, pick: int) -> None:
        """Loaded a while ago: the reader may have been told newer things since."""
        seat = self.seat(pick)
        if (found := seat.snapshot) is not None:
            seat.snapshot = None
            self.meet(seat.room, found)
            seat.tell(found)
            seat.reader.tell_from(found["version"], found["running"])

    def meet(self, room: Room, found: dict[str, Any]) -> None:
        for pk in found["running"]:
            if pk not in room.replies and found["version"] >= room.version and pk in self.store.pieces:
                room.replies[pk] = self.live(room, pk)
        if room.version == 0:
            room.forget(found["version"])
        elif found["version"] > room.version:
            self.load(room)

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9))
    def a_tab_asks_for_a_snapshot(self, pick: int) -> None:
        seat = self.seat(pick)
        seat.snapshot = seat.snapshot or self.store.snapshot()

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9), is_home=st.booleans())
    def a_tab_comes_back(self, pick: int, is_home: bool) -> None:
        """With all it holds, maybe to the other process."""
        old = self.seat(pick)
        if old.tab.version == 0:
            return
        old.room.readers.discard(old.reader)
        room = self.home if is_home else self.far
        seat = self.seats[self.seats.index(old)] = Seat(room, a_reader(room), old.tab)
        room.readers.add(seat.reader)
        found = self.store.snapshot()
        self.meet(room, found)
        if found["version"] - seat.tab.version > cursors.LONGEST_LOG:
            seat.snapshot = found
            return
        for event, _ in self.store.log[seat.tab.version :]:
            seat.tell(event)
        seat.reader.tell_from(found["version"], found["running"])
        for pk in seat.tab.running | {str(pk) for pk in found["running"]}:
            self.tell_again(seat, int(pk))

    @precondition(lambda self: self.seats and self.count)
    @rule(pick=st.integers(0, 9), which=st.integers(1, 9), back=st.integers(0, 20))
    def a_tab_asks_again(self, pick: int, which: int, back: int) -> None:
        self.tell_again(self.seat(pick), 1 + which % self.count, back)

    def tell_again(self, seat: Seat, pk: int, back: int = 0) -> None:
        live = seat.room.replies.get(pk) or LiveReply.mirror(pk, **self.store.texts(pk))
        have = {part: len(text) - back for part, text in seat.tab.texts[str(pk)].items()}
        seat.reader.tell_again(live, have)

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9), frames=st.integers(1, 10))
    def a_tab_reads(self, pick: int, frames: int) -> None:
        seat = self.seat(pick)
        for _ in range(frames):
            seat.take()
        self.help(seat)

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9), frames=st.integers(0, 5))
    def a_tab_acks(self, pick: int, frames: int) -> None:
        self.seat(pick).ack(frames)

    def help(self, seat: Seat) -> None:
        """What a tab lacks it asks for, and a reader who is behind the log gets a snapshot."""
        while seat.tab.lacks:
            self.tell_again(seat, int(seat.tab.lacks.pop()))
        if seat.reader.needs_snapshot:
            seat.snapshot = self.store.snapshot()

    def seat(self, pick: int) -> Seat:
        return self.seats[pick % len(self.seats)]

    # What must hold

    @invariant()
    def nobody_has_seen_what_is_not_stored(self) -> None:
        for seat in self.seats:
            for pk, texts in seat.tab.texts.items():
                stored = self.store.texts(int(pk))
                assert all(stored[part].startswith(text) for part, text in texts.items())

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            for seat in self.seats:
                assert seat.tab.version == self.store.version
                for pk in (*self.store.pieces, *self.store.ended):
                    assert seat.tab.texts[str(pk)] == self.store.texts(pk)
        finally:
            for patch in self.patches:
                patch.stop()

    def come_to_rest(self) -> None:
        for pk in self.replies:
            self.commit(pk)
        for room in (self.home, self.far):
            self.load(room)
        self.the_far_process_looks_at_the_pieces()
        for number, seat in enumerate(self.seats):
            for _ in range(20):
                self.a_snapshot_arrives(number)
                while seat.take():
                    seat.ack(1)
                seat.ack(1000)
                self.help(seat)
            assert seat.reader.frame_to_send(0.0) is None


TestHouse = House.TestCase
TestHouse.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


# One at a time


def test_a_frame_is_encoded_once_for_all_who_stand_at_the_same_place() -> None:
    live = LiveReply.mirror(7, "Hello")
    assert live.frame("text", 0)[0] is live.frame("text", 0)[0]


def test_a_delta_is_as_long_as_it_may_be_and_no_longer() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "a" * (LONGEST_DELTA + 1))
    reader = a_reader(room, max_unacked=10**9)
    reader.tell_from(0, {})
    assert [len(frame["text"]) for frame in frames_of(reader)] == [LONGEST_DELTA, 1]


def test_who_was_away_for_long_gets_one_frame_and_not_many() -> None:
    room, live = Room("r"), LiveReply.mirror(7)
    room.replies[7] = live
    reader = a_reader_from(room)
    for number in range(100):
        live.receive("text", number * 2, "ab")
    assert [(frame["start"], frame["end"]) for frame in frames_of(reader)] == [(0, 200)]


def test_reasoning_is_told_before_the_answer() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "Two.", "1 + 1")
    assert [frame["part"] for frame in frames_of(a_reader_from(room))] == ["reasoning", "text"]


def test_a_reply_is_told_to_its_end_before_its_end_is() -> None:
    room, live = Room("r"), LiveReply.mirror(7, "Hello")
    room.replies[7] = live
    reader = a_reader_from(room)
    room.remember(a_change(1))
    room.remember(a_change(2, live))
    room.remember(a_change(3))
    told = [frame.get("version", frame["type"]) for frame in frames_of(reader)]
    assert told == [1, "reply_delta", 2, 3]


def test_a_hint_with_something_missing_before_it_is_not_taken() -> None:
    live = LiveReply.mirror(7, "ab")
    assert not live.receive("text", 3, "d")
    assert live.receive("text", 1, "bc")
    assert str(live.said["text"]) == "abc"


def test_what_a_runner_said_and_did_not_store_is_not_mirrored() -> None:
    reply = Reply()
    reply.receive_delta("text", "stored")
    reply.receive_stored(reply.gains_to_store())
    reply.receive_delta("text", " and not")
    live = LiveReply(7, reply.said, reply.stored)
    live.become_mirror()
    assert (str(live.said["text"]), live.ends["text"]) == ("stored", 6)


def test_a_reader_who_has_no_snapshot_yet_is_told_nothing_of_the_room() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "Hello")
    reader = a_reader(room)
    assert frames_of(reader) == []
    reader.tell_from(0, {})
    assert len(frames_of(reader)) == 1


@pytest.mark.parametrize(("changes", "needs"), [(LONGEST_LOG, False), (LONGEST_LOG + 1, True)])
def test_a_reader_behind_the_log_asks_for_a_snapshot(changes: int, needs: bool) -> None:
    room = Room("r")
    reader = a_reader_from(room)
    for version in range(1, changes + 1):
        room.remember(a_change(version))
    told = frames_of(reader)
    assert reader.needs_snapshot is needs
    assert len(told) == (0 if needs else changes)


def test_a_room_that_skips_makes_its_readers_ask_for_a_snapshot() -> None:
    room = Room("r")
    reader = a_reader_from(room)
    room.forget(5)
    assert frames_of(reader) == []
    assert reader.needs_snapshot


def test_a_log_of_long_replies_is_held_to_a_size() -> None:
    room = Room("r")
    for version in range(1, 9):
        text = "a" * (cursors.LARGEST_LOG // 4)
        room.remember(a_change(version, LiveReply.mirror(version, text)))
    assert sum(entry.size for entry in room.log) <= cursors.LARGEST_LOG
    assert room.reaches_back_to(7)
    assert not room.reaches_back_to(1)


# Flow control


def test_a_reader_that_never_acks_gets_the_bound_and_one_frame() -> None:
    room, live = Room("r"), LiveReply.mirror(7)
    room.replies[7] = live
    reader = a_reader_from(room)
    sizes = []
    for number in range(1000):
        live.receive("text", number, "a")
        if frame := reader.frame_to_send(5.0):
            sizes.append(len(frame))
    assert sum(sizes[:-1]) <= BOUND < sum(sizes)
    assert reader.blocked_since == 5.0


def test_a_reader_with_nothing_to_come_is_not_late() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "a" * BOUND)
    reader = a_reader_from(room)
    assert reader.frame_to_send(1.0)
    assert reader.is_blocked
    assert reader.frame_to_send(2.0) is None
    assert reader.blocked_since is None


def test_a_reader_that_acks_goes_on_from_where_it_stood() -> None:
    room, live = Room("r"), LiveReply.mirror(7, "a" * BOUND)
    room.replies[7] = live
    reader = a_reader_from(room)
    reader.frame_to_send(1.0)
    live.receive("text", BOUND, "bc")
    assert reader.frame_to_send(2.0) is None
    assert reader.receive_ack(1)
    assert reader.blocked_since is None
    assert [(frame["start"], frame["text"]) for frame in frames_of(reader)] == [(BOUND, "bc")]


def test_more_frames_than_were_sent_cannot_be_acked() -> None:
    reader = a_reader()
    reader.tell("{}")
    reader.frame_to_send(0.0)
    assert not reader.receive_ack(2)
    assert reader.receive_ack(1)


def test_an_older_ack_takes_nothing_back() -> None:
    reader = a_reader()
    for _ in range(3):
        reader.tell("{}")
        reader.frame_to_send(0.0)
    assert [reader.receive_ack(frames) for frames in (2, 1, 0, -5, 3)] == [True] * 5
    assert reader.sent == 3


def test_answers_pass_a_reader_that_is_blocked() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "a" * BOUND)
    reader = a_reader_from(room)
    reader.frame_to_send(0.0)
    reader.tell('{"type":"pong"}')
    assert reader.is_blocked
    assert reader.frame_to_send(0.0) == '{"type":"pong"}'


def test_what_waits_to_be_told_is_counted() -> None:
    reader = a_reader()
    reader.tell("12345")
    reader.tell("67")
    assert reader.waiting_size == 7
    frames_of_text = [reader.frame_to_send(0.0), reader.frame_to_send(0.0)]
    assert (frames_of_text, reader.waiting_size) == (["12345", "67"], 0)


# Asking again


@pytest.mark.parametrize(
    ("have", "told"),
    [({"text": 2}, "llo"), ({"text": -5}, "Hello"), ({}, "Hello"), ({"text": 5}, ""), ({"text": 99}, "")],
)
@pytest.mark.parametrize("is_running", [True, False])
def test_a_reply_is_told_on_from_where_a_tab_says_it_stands(have: dict[Part, int], told: str, is_running: bool) -> None:
    room, live = Room("r"), LiveReply.mirror(7, "Hello")
    if is_running:
        room.replies[7] = live
    reader = a_reader(room)
    reader.tell_from(0, {7: {"text": 5, "reasoning": 0}})
    assert frames_of(reader) == []
    reader.tell_again(live, have)
    assert "".join(frame["text"] for frame in frames_of(reader)) == told


def test_a_reader_is_closed_with_the_first_reason() -> None:
    reader = a_reader()
    reader.close(4401)
    reader.close(4404)
    assert reader.close_code == 4401


def test_who_is_closed_hears_the_last_words_and_nothing_more_of_the_room() -> None:
    room = Room("r")
    room.replies[1] = LiveReply.mirror(1, "said")
    reader = a_reader_from(room)
    reader.tell('{"type": "bye"}')
    reader.close(4401)
    room.remember(a_change(1))
    assert [frame["type"] for frame in frames_of(reader)] == ["bye"]


def test_a_reader_is_woken_by_all_that_may_be_sent() -> None:
    woken: list[str] = []
    room = Room("r")
    reader = Reader(lambda: woken.append("!"), user_id=1, session_key="", max_unacked=BOUND, room=room)
    room.readers.add(reader)
    reader.tell("{}")
    reader.tell_from(0, {})
    reader.tell_again(LiveReply.mirror(7, "Hello"), {})
    reader.receive_ack(0)
    reader.close(4401)
    room.wake()
    assert len(woken) == 6
