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

from streaming import cursors, events, rooms
from streaming.cursors import CatchUp, Reader, Wanted, Window, size_of
from streaming.events import Close
from streaming.reply import PARTS, Gain, Part, Reply
from streaming.rooms import LARGEST_DELTA, LONGEST_DELTA, LONGEST_LOG, Beginning, Entry, Have, LiveReply, Room
from tests.cases import whole_texts

BOUND = 400
#: Of a text that is longer, a snapshot has no more.
CUT = 5
Texts = dict[Part, str]


def ends_of(texts: Texts) -> Have:
    return {part: len(texts[part]) for part in PARTS}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def a_reader(room: Room | None = None, max_unacked: int = BOUND) -> Reader:
    return Reader(lambda: None, user_id=1, session_key="", max_unacked=max_unacked, room=room)


def a_reader_from(room: Room, version: int = 0, max_unacked: int = BOUND) -> Reader:
    """One that stands at `version` and has nothing of any reply."""
    reader = a_reader(room, max_unacked)
    tell_from(reader, version)
    return reader


def tell_from(reader: Reader, version: int, have: dict[int, Have] | None = None) -> None:
    reader.receive_catch_up(CatchUp(version, [], have or {}, []))


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
        self.ends: dict[str, Have] = {}

    @property
    def growing(self) -> set[str]:
        """The replies that run, and those of which it was told the beginning."""
        return self.running | {pk for pk, ends in self.ends.items() if ends_of(self.texts[pk]) != ends}

    def receive(self, event: dict[str, Any], is_live: bool) -> None:
        match event["type"]:
            case "conversation_snapshot":
                self.version = event["version"]
                self.running = {str(pk) for pk in event["running"]}
                self.ends = event["ends"]
                for pk, texts in event["texts"].items():
                    # Where it has only the beginning of a text, nothing is taken back.
                    self.texts[pk] = {part: max(self.texts[pk][part], texts[part], key=len) for part in PARTS}
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
        if digest(self.texts[event["reply"]]["text"]) != event["sha256"]:
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
    found: CatchUp | None = None

    def take(self) -> bool:
        on_its_way = sum(self.sizes[self.acked :])
        is_live = not (self.reader._catch_up or self.reader._awaited or self.reader._wanted)
        frame = self.reader.frame_to_send(0.0)
        if frame is None:
            return False
        # The snapshots of this house know no bound of their own: there was room for as much as they may have.
        size = min(len(frame), BOUND // 2) if '"conversation_snapshot"' in frame else len(frame)
        assert not on_its_way or on_its_way + size <= BOUND, "more was sent than may be on its way"
        self.sizes.append(len(frame))
        self.tab.receive(json.loads(frame), is_live)
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

    def window(self, window: Window) -> str:
        return self.ended[window.pk][window.part][window.start : window.start + rooms.LONGEST_DELTA]

    def catch_up(self, wanted: Wanted) -> CatchUp:
        """As `readings.load_catch_up` finds it: long texts are cut."""
        have: dict[int, Have] = {pk: wanted.replies[pk] for pk in self.pieces if pk in wanted.replies}
        places = [
            Beginning(pk, have, ends_of(self.ended[pk])) for pk, have in wanted.replies.items() if pk in self.ended
        ]
        if not wanted.catches_up:
            return CatchUp(None, [], have, places)
        if wanted.version is not None and self.version - wanted.version <= rooms.LONGEST_LOG:
            entries = [self.entry(event, ended) for event, ended in self.log[wanted.version :]]
            running: dict[int, Have] = {
                pk: {"text": 0, "reasoning": 0} for pk in self.pieces if pk not in wanted.replies
            }
            return CatchUp(self.version, entries, running | have, places)
        texts = {pk: self.texts(pk) for pk in (*self.pieces, *self.ended)}
        cut: dict[int, Texts] = {pk: {part: text[part][:CUT] for part in PARTS} for pk, text in texts.items()}
        running = {pk: ends_of(cut[pk]) for pk in self.pieces}
        begun = tuple(Beginning(pk, ends_of(cut[pk]), ends_of(texts[pk])) for pk in self.ended)
        frame = {"type": "conversation_snapshot", "version": self.version, "texts": cut, "running": list(running)}
        frame["ends"] = {beginning.pk: beginning.ends for beginning in begun}
        return CatchUp(self.version, [Entry(self.version, events.encode(frame), begun=begun)], running | have, places)

    def entry(self, event: dict[str, Any], ended: int | None) -> Entry:
        entry = Entry(event["version"], events.encode(event))
        if ended is not None:
            entry.reply, entry.ends = ended, ends_of(self.ended[ended])
        return entry


class House(RuleBasedStateMachine):
    """Two processes with a room each: replies run in the one and are mirrored in the other."""

    def __init__(self) -> None:
        super().__init__()
        bounds = {"LONGEST_DELTA": 7, "LONGEST_LOG": 5, "LARGEST_LOG": 600}
        self.patches = [mock.patch.object(rooms, name, bound) for name, bound in bounds.items()]
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
        if self.store.version - room.version > rooms.LONGEST_LOG:
            room.forget(self.store.version)
            return
        for pk in self.store.pieces:
            if pk not in room.replies:
                room.replies[pk] = self.live(room, pk)
        for event, ended in self.store.log[room.version :]:
            live = None
            if ended is not None:
                live = room.replies.get(ended) or LiveReply.mirror(ended)
                live.become_whole(self.store.ended[ended]["text"], self.store.ended[ended]["reasoning"])
            room.remember(Entry(event["version"], events.encode(event), live))

    def live(self, room: Room, pk: int) -> LiveReply:
        texts = self.store.texts(pk)
        return self.own[pk] if room is self.home else LiveReply.mirror(pk, texts["text"], texts["reasoning"])

    # Readers

    @precondition(lambda self: len(self.seats) < 4)
    @rule(is_home=st.booleans())
    def a_reader_comes(self, is_home: bool) -> None:
        self.seats.append(self.seated(Tab(), is_home))
        self.seats[-1].reader.ask()

    def seated(self, tab: Tab, is_home: bool) -> Seat:
        room = self.home if is_home else self.far
        seat = Seat(room, a_reader(room), tab)
        room.readers.add(seat.reader)
        return seat

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9), arrives=st.booleans())
    def the_store_is_read_for_a_reader(self, pick: int, arrives: bool) -> None:
        """What arrives later may be old by then: the reader has been told newer things since."""
        seat = self.seat(pick)
        if seat.found is None and (need := seat.reader.to_read()) is not None:
            if isinstance(need, Window):
                seat.reader.receive_window(need, self.store.window(need))
                return
            seat.found = self.store.catch_up(need)
        if seat.found is not None and arrives:
            found, seat.found = seat.found, None
            self.meet(seat.room, found)
            seat.reader.receive_catch_up(found)

    def meet(self, room: Room, found: CatchUp) -> None:
        if found.version is None:
            return
        for pk in self.store.pieces:
            if pk not in room.replies and found.version >= room.version:
                room.replies[pk] = self.live(room, pk)
        if room.version == 0:
            room.forget(found.version)
        elif found.version > room.version:
            self.load(room)

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9), is_new=st.booleans())
    def a_tab_asks_for_what_came_after(self, pick: int, is_new: bool) -> None:
        seat = self.seat(pick)
        seat.reader.ask(seat.tab.version if is_new and seat.tab.version else None)

    @precondition(lambda self: self.seats)
    @rule(pick=st.integers(0, 9), is_home=st.booleans())
    def a_tab_comes_back(self, pick: int, is_home: bool) -> None:
        """With all it holds, maybe to the other process."""
        old = self.seat(pick)
        if old.tab.version == 0:
            return
        old.room.readers.discard(old.reader)
        seat = self.seats[self.seats.index(old)] = self.seated(old.tab, is_home)
        seat.reader.ask(seat.tab.version)
        for pk in seat.tab.growing:
            self.ask_for(seat, int(pk))

    @precondition(lambda self: self.seats and self.count)
    @rule(pick=st.integers(0, 9), which=st.integers(1, 9), back=st.integers(0, 20))
    def a_tab_asks_again(self, pick: int, which: int, back: int) -> None:
        self.ask_for(self.seat(pick), 1 + which % self.count, back)

    def ask_for(self, seat: Seat, pk: int, back: int = 0) -> None:
        have = {part: len(text) - back for part, text in seat.tab.texts[str(pk)].items()}
        assert seat.reader.ask_for({pk: have})

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
        """What a tab lacks it asks for."""
        while seat.tab.lacks:
            self.ask_for(seat, int(seat.tab.lacks.pop()))

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
            for _ in range(200):
                self.the_store_is_read_for_a_reader(number, True)
                while seat.take():
                    seat.ack(1)
                seat.ack(1000)
                self.help(seat)
            assert seat.reader.frame_to_send(0.0) is None
            assert seat.reader.to_read() is None
            assert seat.reader.size == 0


TestHouse = House.TestCase
TestHouse.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


# One at a time


def test_a_frame_is_encoded_once_for_all_who_stand_at_the_same_place() -> None:
    live = LiveReply.mirror(7, "Hello")
    assert live.frame("text", 0)[0] is live.frame("text", 0)[0]


def test_a_delta_is_as_long_as_it_may_be_and_no_longer() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "a" * (LONGEST_DELTA + 1))
    reader = a_reader_from(room, max_unacked=10**9)
    assert [len(frame["text"]) for frame in frames_of(reader)] == [LONGEST_DELTA, 1]


@pytest.mark.parametrize("character", ["a", '"', "你", "😀", "\x01"])
def test_a_delta_takes_as_many_bytes_as_it_may_and_no_more(character: str) -> None:
    text = character * (3 * LONGEST_DELTA)
    live, start, said = LiveReply.mirror(7, text), 0, ""
    while start < len(text):
        frame, start = live.frame("text", start)
        assert len(frame.encode()) < LARGEST_DELTA + 100
        said += json.loads(frame)["text"]
    assert said == text


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
    tell_from(reader, 0)
    assert len(frames_of(reader)) == 1


@pytest.mark.parametrize(("changes", "needs"), [(LONGEST_LOG, False), (LONGEST_LOG + 1, True)])
def test_a_reader_behind_the_log_asks_for_a_snapshot(changes: int, needs: bool) -> None:
    room = Room("r")
    reader = a_reader_from(room)
    for version in range(1, changes + 1):
        room.remember(a_change(version))
    told = frames_of(reader)
    assert (reader.to_read() == Wanted(catches_up=True)) is needs
    assert len(told) == (0 if needs else changes)


def test_a_room_that_skips_makes_its_readers_ask_for_a_snapshot() -> None:
    room = Room("r")
    reader = a_reader_from(room)
    room.forget(5)
    assert frames_of(reader) == []
    assert reader.to_read() == Wanted(catches_up=True)


def test_a_log_lets_go_of_the_texts_of_long_replies_and_keeps_the_newest() -> None:
    room = Room("r")
    for version in range(1, 9):
        room.remember(a_change(version, LiveReply.mirror(version, "a" * (rooms.LARGEST_LOG // 3))))
    assert sum(entry.size for entry in room.log) <= rooms.LARGEST_LOG
    assert room.reaches_back_to(0)
    assert [entry.version for entry in room.log if entry.ended is not None] == [7, 8]


def test_a_log_of_long_events_is_held_to_a_size() -> None:
    room = Room("r")
    for version in range(1, 9):
        room.remember(Entry(version, "a" * (rooms.LARGEST_LOG // 3)))
    assert sum(entry.size for entry in room.log) <= rooms.LARGEST_LOG
    assert not room.reaches_back_to(4)


def test_a_reply_that_has_left_memory_is_told_from_the_store_before_its_end_is() -> None:
    room, live = Room("r"), LiveReply.mirror(7, "Hello, world")
    room.replies[7] = live
    reader = a_reader_from(room, max_unacked=10**6)
    live.ends["text"] = 5
    assert [frame["text"] for frame in frames_of(reader)] == ["Hello"]
    live.ends["text"] = 12
    room.remember(a_change(1, live))
    room.log[0].ended = None
    assert frames_of(reader) == []
    assert reader.to_read() == Window(7, "text", 5)
    reader.receive_window(Window(7, "text", 5), ", world")
    assert [frame.get("text", frame["type"]) for frame in frames_of(reader)] == [", world", "conversation_changed"]
    assert reader.to_read() is None


def test_who_comes_back_is_told_a_reply_from_where_it_stands_to_its_end_before_its_end() -> None:
    reader = a_reader(Room("r"))
    ends: Have = {"text": 5, "reasoning": 0}
    entries = [Entry(4, '{"type":"reply_ended"}', reply=7, ends=ends), Entry(4, '{"type":"conversation_changed"}')]
    reader.receive_catch_up(CatchUp(4, entries, {}, [Beginning(7, {"text": 2, "reasoning": 0}, ends)]))
    assert frames_of(reader) == []
    assert reader.to_read() == Window(7, "text", 2)
    reader.receive_window(Window(7, "text", 2), "llo")
    assert [frame["type"] for frame in frames_of(reader)] == ["reply_delta", "reply_ended", "conversation_changed"]


def test_a_reply_that_is_gone_from_the_store_holds_up_nobody() -> None:
    room = Room("r")
    reader = a_reader_from(room)
    room.remember(Entry(1, "{}", reply=7, ends={"text": 5, "reasoning": 0}))
    assert frames_of(reader) == []
    window = reader.to_read()
    assert isinstance(window, Window)
    reader.receive_window(window, "")
    assert len(frames_of(reader)) == 1


def test_the_rest_of_a_long_message_follows_its_beginning() -> None:
    room = Room("r")
    reader = a_reader_from(room)
    begun = Beginning(7, {"text": 3, "reasoning": 0}, {"text": 5, "reasoning": 0})
    room.remember(Entry(1, "{}", begun=(begun,)))
    assert len(frames_of(reader)) == 1
    window = reader.to_read()
    assert window == Window(7, "text", 3)
    reader.receive_window(Window(7, "text", 3), "lo")
    assert [(frame["reply"], frame["start"], frame["text"]) for frame in frames_of(reader)] == [("7", 3, "lo")]
    assert reader.to_read() is None
    assert begun.have == {"text": 3, "reasoning": 0}, "another reader stands there, too"


def test_what_runs_now_is_told_before_the_rest_of_what_is_old() -> None:
    room = Room("r")
    reader = a_reader_from(room)
    reader.receive_catch_up(
        CatchUp(None, [], {}, [Beginning(7, {"text": 0, "reasoning": 0}, {"text": 5, "reasoning": 0})])
    )
    room.replies[8] = LiveReply.mirror(8, "Now")
    assert [frame["reply"] for frame in frames_of(reader)] == ["8"]
    assert reader.to_read() == Window(7, "text", 0)


# Flow control


def test_a_reader_that_never_acks_gets_no_more_than_the_bound() -> None:
    room, live = Room("r"), LiveReply.mirror(7)
    room.replies[7] = live
    reader = a_reader_from(room)
    sizes = []
    for number in range(1000):
        live.receive("text", number, "你")
        if frame := reader.frame_to_send(5.0):
            sizes.append(len(frame.encode()))
    assert BOUND / 2 < sum(sizes) <= BOUND
    assert reader.size == sum(sizes)
    assert reader.blocked_since == 5.0


def test_a_reader_with_nothing_to_come_is_not_late() -> None:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "a" * BOUND)
    reader = a_reader_from(room)
    assert reader.frame_to_send(1.0)
    assert reader.size > BOUND
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


def a_blocked_reader(max_unacked: int = BOUND) -> Reader:
    room = Room("r")
    room.replies[7] = LiveReply.mirror(7, "a" * 10 * max_unacked)
    reader = a_reader_from(room, max_unacked=max_unacked)
    while reader.frame_to_send(1.0) is not None:
        pass
    assert reader.blocked_since == 1.0
    return reader


def test_answers_pass_a_reader_that_is_blocked_as_long_as_they_are_few() -> None:
    with mock.patch.object(rooms, "LONGEST_DELTA", 100):
        reader = a_blocked_reader(4000)
        passed = 0
        while reader.close_code is None:
            reader.tell('{"type":"pong"}')
            passed += reader.frame_to_send(2.0) == '{"type":"pong"}'
            assert reader.size <= 4000 + len('{"type":"pong"}')
    assert passed > 10
    assert reader.close_code == Close.TOO_SLOW


def test_a_long_answer_alone_is_sent() -> None:
    reader = a_reader()
    reader.tell("a" * 2 * BOUND)
    assert reader.close_code is None
    assert reader.frame_to_send(0.0) is not None


def test_lines_of_the_sidebar_wait_and_the_newest_of_each_is_told() -> None:
    with mock.patch.object(rooms, "LONGEST_DELTA", 100):
        reader = a_blocked_reader(4000)
        for number in range(100):
            reader.tell_sidebar("one", f"{{{number}}}")
            reader.tell_sidebar("two", f"{{{number}}}")
        assert reader.frame_to_send(2.0) is None
        assert reader.waiting_size == 8
        reader.receive_ack(reader.sent)
        assert [reader.frame_to_send(3.0) for _ in range(2)] == ["{99}", "{99}"]


def test_a_reader_of_the_sidebar_alone_is_held_to_the_same_bound() -> None:
    reader, sent = a_reader(), 0
    for number in range(1000):
        reader.tell_sidebar("one", f"{number:020d}")
        sent += reader.frame_to_send(7.0) is not None
        assert reader.size <= BOUND
    assert 20 * sent > BOUND / 2
    assert reader.close_code is None
    assert reader.blocked_since == 7.0
    assert reader.is_late(17.5, 10.0)


def test_who_would_be_told_of_too_many_conversations_at_once_comes_back_instead() -> None:
    reader = a_reader()
    for number in range(1000):
        reader.tell_sidebar(str(number), "a" * 20)
        assert reader.size <= BOUND + 20
    assert reader.close_code == Close.TOO_SLOW


def test_answers_and_lines_of_the_sidebar_come_after_the_first_snapshot() -> None:
    reader = a_reader(Room("r"))
    reader.tell('{"type":"pong"}')
    reader.tell_sidebar("one", '{"type":"sidebar_changed"}')
    assert frames_of(reader) == []
    reader.receive_catch_up(CatchUp(1, [Entry(1, '{"type":"conversation_snapshot"}')], {}, []))
    assert [frame["type"] for frame in frames_of(reader)] == ["conversation_snapshot", "pong", "sidebar_changed"]


@pytest.mark.parametrize(("oldest", "seconds"), [(1, 10), (32 * 1024, 10), (96 * 1024, 30)])
def test_who_is_taking_in_a_large_frame_has_longer(oldest: int, seconds: float) -> None:
    reader = a_reader(max_unacked=10**6)
    reader.tell("a" * oldest)
    reader.frame_to_send(0.0)
    assert not reader.is_late(100.0, 10.0)
    reader.blocked_since = 1.0
    assert not reader.is_late(1.0 + seconds, 10.0)
    assert reader.is_late(1.1 + seconds, 10.0)


def test_a_frame_is_as_long_as_its_bytes() -> None:
    assert [size_of(frame) for frame in ("", "abc", "é", "你", "😀")] == [0, 3, 2, 3, 4]


# What a reader wants from the store


def test_what_a_blocked_reader_wants_is_read_when_there_is_room_for_it() -> None:
    with mock.patch.object(rooms, "LONGEST_DELTA", 100):
        reader = a_blocked_reader(4000)
        for _ in range(50):
            reader.ask()
            reader.ask(3)
            reader.ask_for({1: {}})
        assert reader.to_read() is None
        assert reader.waiting_size == 0
        reader.receive_ack(reader.sent)
        assert reader.to_read() == Wanted(catches_up=True, replies={1: {"text": 0, "reasoning": 0}})
        assert reader.to_read() is None, "one at a time"


def test_while_a_snapshot_is_read_its_room_is_kept() -> None:
    with mock.patch.object(rooms, "LONGEST_DELTA", 100):
        reader = a_blocked_reader(4000)
        reader.receive_ack(reader.sent)
        reader.ask()
        assert isinstance(reader.to_read(), Wanted)
        while reader.frame_to_send(2.0) is not None:
            pass
        assert 0 < reader.size < 1100
        reader.receive_catch_up(CatchUp(1, [Entry(1, "a" * 2000)], {}, []))
        assert reader.size < 3100


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [([5], 5), ([5, 3], 3), ([3, 5], 3), ([5, None], None), ([None, 5], None), ([None], None)],
)
def test_what_is_wanted_twice_is_told_once_and_from_the_older_place(
    asked: list[int | None], wanted: int | None
) -> None:
    reader = a_reader(Room("r"))
    for version in asked:
        reader.ask(version)
    assert reader.to_read() == Wanted(catches_up=True, version=wanted)


def test_what_could_not_be_read_is_wanted_still() -> None:
    reader = a_reader(Room("r"))
    reader.ask(3)
    reader.ask_for({1: {"text": 5}, 2: {}})
    first = reader.to_read()
    assert isinstance(first, Wanted)
    reader.ask(2)
    reader.ask_for({1: {"text": 7}})
    reader.ask_again(first)
    again = reader.to_read()
    assert isinstance(again, Wanted)
    assert (again.catches_up, again.version) == (True, 2)
    assert {pk: have["text"] for pk, have in again.replies.items()} == {1: 7, 2: 0}


def test_a_reader_cannot_ask_for_more_than_so_many_replies_at_once() -> None:
    reader = a_reader(Room("r"))
    many = range(cursors.MOST_LACKING)
    assert reader.ask_for({pk: {} for pk in many})
    assert not reader.ask_for({10**6: {}})
    wanted = reader.to_read()
    assert isinstance(wanted, Wanted)
    assert 10**6 not in wanted.replies


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
    tell_from(reader, 0, {7: {"text": 5, "reasoning": 0}})
    assert frames_of(reader) == []
    reader.ask_for({7: have})
    wanted = reader.to_read()
    assert (wanted is None) is is_running
    if isinstance(wanted, Wanted):
        place = Beginning(7, wanted.replies[7], {"text": 5, "reasoning": 0})
        reader.receive_catch_up(CatchUp(None, [], {}, [place]))
        if isinstance(window := reader.to_read(), Window):
            reader.receive_window(window, "Hello"[window.start :])
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
    reader.tell_sidebar("one", "{}")
    reader.tell_waiting(7, "{}")
    reader.ask()
    reader.ask_for({7: {}})
    tell_from(reader, 0)
    reader.receive_window(Window(7, "text", 0), "")
    reader.receive_ack(0)
    reader.close(4401)
    room.wake()
    assert len(woken) == 9
