"""Readers: who stands where in which texts, and how much is on its way to them. Pure.

A reply is a text that only grows, so a reader is a few numbers: how far it has been
told. There is no queue per reader. Whoever joined late, was slow or lost something is
in one and the same case: what lies behind its cursor is sent next, in as few frames as
it can be. What is no longer in memory is read from the store, a window at a time, when
there is room for it on the way to that reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .events import MOST_SYNCED, Close
from .reply import PARTS, Part
from .rooms import LARGEST_DELTA, Beginning, Entry, Have, LiveReply, Room, delta

#: Bytes that are left for answers and lines of the sidebar where the events of a conversation have to wait.
FOR_ANSWERS = 32 * 1024
#: A snapshot, or the events since a version, are read when there is room for as much.
LARGEST_CATCH_UP = 144 * 1024
#: Ended replies that a reader is told at once; who asks for more is refused.
MOST_LACKING = 5 * MOST_SYNCED
#: A frame that large may take as long as `ackSeconds`, and a larger one longer in proportion: 1 KB/s in 30 seconds.
SLOW_FRAME = 32 * 1024


@dataclass
class Wanted:
    """What a reader is to be told from the store: all since `version` or, without one, a snapshot, if it `catches_up`;
    and these replies from these places."""

    catches_up: bool = False
    version: int | None = None
    replies: dict[int, Have] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.catches_up or bool(self.replies)

    def add_changes(self, version: int | None) -> None:
        """Also what came after `version`: the older one has it all, and a snapshot everything."""
        if self.catches_up:
            both = self.version is not None and version is not None
            version = min(self.version, version) if both else None  # type: ignore[type-var]
        self.catches_up, self.version = True, version


class Window(NamedTuple):
    """A piece of a stored text that a reader is to be told next."""

    pk: int
    part: Part
    start: int


class CatchUp(NamedTuple):
    """What the store says to somebody who wanted it: `entries` to be told, which lead to `version`; where the reader
    stands in replies that run; and replies that have ended, of which it has the `beginnings`."""

    version: int | None
    entries: list[Entry]
    have: dict[int, Have]
    beginnings: list[Beginning]


class Reader:
    """One socket or event stream: what it has been told, and what it has taken in.

    `wake` is called when there may be something to send. `version` is None until the
    reader has been given its first snapshot.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        user_id: int,
        session_key: str,
        max_unacked: int,
        room: Room | None = None,
    ) -> None:
        self.wake = wake
        self.user_id = user_id
        self.session_key = session_key
        self.room = room
        self.version: int | None = None
        self.close_code: int | None = None
        self.is_behind = False
        #: The version that the frames sent so far amount to: where to resume after them.
        self.told: int | None = None
        # Where it stands
        self._have: dict[int, Have] = {}
        self._lacks: dict[int, Have] = {}
        # What it wants from the store, what is being read for it, what was. Lists, here and below: an empty queue of the
        # library takes as much memory as a thirtieth of a socket, and these are short.
        self._wanted = Wanted()
        self._awaited: Wanted | None = None
        self._catch_up: list[Entry] = []
        self._window: str | None = None
        # What has no place in a text
        self._answers: list[str] = []
        self._sidebar: dict[str, str] = {}
        self._waits: dict[int, str] = {}
        # What is on its way
        self._held: str | None = None
        self._max = max_unacked
        self._for_answers = min(FOR_ANSWERS, max_unacked // 4)
        self._for_catch_up = min(LARGEST_CATCH_UP, max_unacked // 2)
        self._unacked: list[int] = []
        self._unacked_size = 0
        self._acked = 0
        self.waiting_size = 0
        self.blocked_since: float | None = None

    # What comes in

    def tell(self, answer: str) -> None:
        """Send an answer, or a last word: it waits for nothing that was not taken in."""
        self._answers.append(answer)
        self._wait_to_be_sent(answer)

    def tell_sidebar(self, conversation: str, frame: str) -> None:
        """Send a line of the sidebar, the newest of each conversation."""
        if self.close_code is not None:
            return
        self.waiting_size -= size_of(self._sidebar.pop(conversation, ""))
        self._sidebar[conversation] = frame
        self._wait_to_be_sent(frame)

    def _wait_to_be_sent(self, frame: str) -> None:
        self.waiting_size += size_of(frame)
        if self.size > self._max and self.size > size_of(frame):
            self.close(Close.TOO_SLOW)
        self.wake()

    def tell_waiting(self, reply: int, frame: str) -> None:
        """Send what a reply waits for before its next try, the newest of each."""
        self._waits[reply] = frame
        self.wake()

    def ask(self, version: int | None = None) -> None:
        """Be told all that came after `version` or, without one, a snapshot."""
        self._wanted.add_changes(version)
        self.wake()

    def ask_for(self, replies: Mapping[int, Mapping[Part, int]]) -> bool:
        """Be told replies on from these places, running or ended. False where that is too much at once."""
        if len(self._lacks) + len(self._wanted.replies) + len(replies) > MOST_LACKING:
            return False
        is_told_more = self._wanted or self._awaited is not None or self._is_ahead
        running = self.room.replies if self.room and not is_told_more else {}
        for pk, place in replies.items():
            have = {part: max(place.get(part, 0), 0) for part in PARTS}
            if live := running.get(pk):
                self._have[pk] = {part: min(have[part], live.ends[part]) for part in PARTS}
            else:
                self._wanted.replies[pk] = have
        self.wake()
        return True

    def ask_again(self, wanted: Wanted) -> None:
        """It could not be read: it is wanted still."""
        self._awaited = None
        for pk, have in wanted.replies.items():
            self._wanted.replies.setdefault(pk, have)
        if wanted.catches_up:
            self._wanted.add_changes(wanted.version)

    def receive_catch_up(self, found: CatchUp) -> None:
        """From now on the reader stands where this says."""
        self._awaited = None
        self._catch_up.extend(found.entries)
        self.waiting_size += sum(size_of(entry.frame) for entry in found.entries)
        if found.version is not None:
            self.version, self.is_behind = found.version, False
        for pk, have in found.have.items():
            self._have[pk] = dict(have)
        self._begin(found.beginnings)
        self.wake()

    def _begin(self, messages: Iterable[Beginning]) -> None:
        for pk, have, ends in messages:
            self._have[pk], self._lacks[pk] = {part: min(have[part], ends[part]) for part in PARTS}, ends

    def receive_window(self, window: Window, text: str) -> None:
        """This is what the store holds from there on: nothing, where the message is gone."""
        pk, part, start = window
        if pk not in self._lacks or self._have[pk][part] != start:
            return  # it was asked for from another place meanwhile
        if text:
            frame, self._have[pk][part] = delta(pk, part, start, text)
            self._window = frame
            self.waiting_size += size_of(frame)
        else:
            self._have[pk] = dict(self._lacks[pk])
        self.wake()

    def receive_ack(self, frames: int) -> bool:
        """The other end has taken in `frames` frames since it came. False where that is
        more than it was sent."""
        if frames > self.sent:
            return False
        if frames > self._acked:
            # Only news counts: who repeats an old number takes nothing in.
            self.blocked_since = None
        while self._acked < frames:
            self._unacked_size -= self._unacked.pop(0)
            self._acked += 1
        self.wake()
        return True

    def close(self, code: int) -> None:
        if self.close_code is None:
            self.close_code = code
        self.wake()

    # What goes out

    @property
    def sent(self) -> int:
        """How many frames this reader was sent since it came."""
        return self._acked + len(self._unacked)

    @property
    def size(self) -> int:
        """What this reader costs, in bytes: what is on its way, and what was made for it alone and waits."""
        return self._unacked_size + self.waiting_size

    def is_late(self, now: float, ack_seconds: float) -> bool:
        """Has it taken in nothing for too long, while something is owed to it?"""
        if self.blocked_since is None:
            return False
        slowness = max(self._unacked[0] / SLOW_FRAME, 1) if self._unacked else 1
        return now - self.blocked_since > ack_seconds * slowness

    def frame_to_send(self, now: float) -> str | None:
        """Return the next frame, or None where there is nothing (more) to send."""
        frame = self._next_that_waits()
        if frame is not None:
            self.waiting_size -= size_of(frame)
        elif self.close_code is None:
            frame = self._next_that_fits(now)
        if frame is not None:
            self._unacked.append(size_of(frame))
            self._unacked_size += self._unacked[-1]
        return frame

    def _next_that_waits(self) -> str | None:
        """What was made for this reader costs as much here as on its way."""
        if self._answers and (self._has_begun or self.close_code is not None):
            return self._answers.pop(0)
        if self.close_code is not None:
            # It may be somebody who has just lost the right to know.
            return None
        if self._window is not None:
            frame, self._window = self._window, None
            return frame
        if self._catch_up and not self._lacks_the_rest_of(self._catch_up[0]):
            return self._pass(self._catch_up.pop(0))
        if self._sidebar and self._has_begun and self.blocked_since is None and self._has_room_for(0):
            return self._sidebar.pop(next(iter(self._sidebar)))
        return None

    @property
    def _has_begun(self) -> bool:
        """Who looks at a conversation is told it first of all."""
        has_been_told = self.told is not None or not self._catch_up
        return self.room is None or (self.version is not None and has_been_told)

    def _next_that_fits(self, now: float) -> str | None:
        # What does not fit is held: no copy, for all who stand at the same place are sent the same object.
        self._held = self._held or self._next_of_room()
        if self._held is not None and self._has_room_for(size_of(self._held)):
            frame, self._held = self._held, None
            return frame
        if self.blocked_since is None and self._is_owed_something:
            self.blocked_since = now
        return None

    def _has_room_for(self, size: int) -> bool:
        taken = self.size + self._for_answers + (self._for_catch_up if self._wanted or self._awaited else 0)
        return not self._unacked or taken + size <= self._max

    @property
    def _is_owed_something(self) -> bool:
        """Is there more to be told, and no room for it?"""
        if self._held is not None:
            return True
        needs_room = self._sidebar or self._wanted or self._lacks
        return bool(needs_room) and not self._has_room_for(LARGEST_DELTA)

    def _next_of_room(self) -> str | None:
        if self.room is None or self.version is None or self.is_behind or self._catch_up:
            return None
        if self.version < self.room.version:
            return self._next_entry(self.room, self.version)
        if self._is_ahead:
            return None
        return self._next_wait() or self._next_delta(self.room.replies.values())

    @property
    def _is_ahead(self) -> bool:
        """Was it told by the store what its room is about to hear? Replies that run there may have ended here."""
        return self.room is not None and self.version is not None and self.version > self.room.version

    def _next_entry(self, room: Room, version: int) -> str | None:
        if not room.reaches_back_to(version):
            self.is_behind = True
            self.ask()
            return None
        entry = room.entry_after(version)
        assert entry is not None
        if entry.ended is not None and (rest := self._delta_of(entry.ended)) is not None:
            return rest
        if entry.reply is not None:
            self._have_of(entry.reply)
        if self._lacks_the_rest_of(entry):
            return None
        self.version = entry.version
        return self._pass(entry)

    def _pass(self, entry: Entry) -> str:
        self.told = entry.version
        if entry.reply is not None:
            self._have.pop(entry.reply, None)
            self._lacks.pop(entry.reply, None)
            self._waits.pop(entry.reply, None)
        self._begin(entry.begun)
        return entry.frame

    def _next_wait(self) -> str | None:
        return self._waits.pop(next(iter(self._waits))) if self._waits else None

    def _next_delta(self, replies: Iterable[LiveReply]) -> str | None:
        for live in replies:
            if frame := self._delta_of(live):
                return frame
        return None

    def _delta_of(self, live: LiveReply) -> str | None:
        have = self._have_of(live.pk)
        # Thinking comes before the answer, so that is the order in which it is told.
        for part in ("reasoning", "text"):
            if live.ends[part] > have[part]:
                frame, have[part] = live.frame(part, have[part])
                return frame
        return None

    def _have_of(self, pk: int) -> Have:
        return self._have.setdefault(pk, {"text": 0, "reasoning": 0})

    def _stands_before(self, ends: Have, pk: int) -> bool:
        have = self._have_of(pk)
        return any(ends[part] > have[part] for part in PARTS)

    def _lacks_the_rest_of(self, entry: Entry) -> bool:
        """Does this end a reply that the store has to tell to its end first?"""
        if entry.reply is None or entry.reply not in self._have or not self._stands_before(entry.ends, entry.reply):
            return False
        self._lacks = {entry.reply: entry.ends, **self._lacks}
        return True

    # What has to be read from the store before it can go out

    def to_read(self) -> Wanted | Window | None:
        """Return what has to be read next for this reader, now that there is room for it. A second answer supposes
        that the first was read, or is asked for again."""
        if self.close_code is not None or self._awaited is not None:
            return None
        if self._wanted and not self._catch_up and self._has_room_for(0):
            self._awaited, self._wanted = self._wanted, Wanted()
            return self._awaited
        if self._held is not None or self._window is not None or not self._has_room_for(LARGEST_DELTA):
            return None
        return self._next_window()

    def _next_window(self) -> Window | None:
        for pk in list(self._lacks):
            if window := self._window_of(pk):
                return window
            del self._lacks[pk]
            self._have.pop(pk, None)
        return None

    def _window_of(self, pk: int) -> Window | None:
        have, ends = self._have_of(pk), self._lacks[pk]
        for part in ("reasoning", "text"):
            if ends[part] > have[part]:
                return Window(pk, part, have[part])
        return None


def size_of(frame: str) -> int:
    """How many bytes a frame is on its way."""
    return len(frame) if frame.isascii() else len(frame.encode())
