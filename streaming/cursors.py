"""Who stands where in which texts: rooms, the live ends of replies, and readers. Pure.

A reply is a text that only grows, so a reader is a few numbers: how far it has been
told. There is no queue per reader. Whoever joined late, was slow or lost something is
in one and the same case: what lies behind its cursor is sent next, in as few frames as
it can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import events
from .reply import PARTS, GrowingText, Part

#: Code points in one delta. Even when each of them needs six bytes as JSON, the frame
#: stays below the 256 KiB that a socket may cost.
LONGEST_DELTA = 32_768
#: Lasting events that a room remembers for readers who are behind, and the characters
#: of them together; who is further behind gets a snapshot.
LONGEST_LOG = 200
LARGEST_LOG = 1_000_000


class LiveReply:
    """What may be shown of one reply, in this process: its text up to `ends`.

    Of a reply that runs here, `said` and `ends` are the runner's own objects; of one
    that runs elsewhere they are a mirror, fed by hints and by what is stored.
    """

    def __init__(self, pk: int, said: dict[Part, GrowingText], ends: dict[Part, int]) -> None:
        self.pk = pk
        self.said = said
        self.ends = ends
        self.is_own = True
        self._frame: tuple[Part, int, int, str] = ("text", 0, 0, "")

    @classmethod
    def mirror(cls, pk: int, text: str = "", reasoning: str = "") -> LiveReply:
        said: dict[Part, GrowingText] = {
            "text": GrowingText(text),
            "reasoning": GrowingText(reasoning),
        }
        live = cls(pk, said, {part: said[part].end for part in PARTS})
        live.is_own = False
        return live

    def receive(self, part: Part, start: int, text: str) -> bool:
        """Take in what was stored elsewhere; False where something before it is missing.
        What is known already is ignored, whatever is new of it is kept."""
        end = self.ends[part]
        if start > end:
            return False
        self.said[part].append(text[end - start :])
        self.ends[part] = self.said[part].end
        return True

    def become_mirror(self) -> None:
        """The reply runs here no longer: hold what may be shown, apart from the runner's
        own objects, which may have said more than was stored."""
        self.said = {part: GrowingText(self.said[part].since(0, self.ends[part])) for part in PARTS}
        self.ends = dict(self.ends)
        self.is_own = False

    def become_whole(self, text: str, reasoning: str) -> None:
        """The reply has ended with these texts, whatever was heard of it before."""
        self.said = {"text": GrowingText(text), "reasoning": GrowingText(reasoning)}
        self.ends = {part: self.said[part].end for part in PARTS}

    def frame(self, part: Part, start: int) -> tuple[str, int]:
        """Return the frame that leads on from `start`, and where it leads to.

        Encoded once for all readers who stand at the same place.
        """
        end = min(self.ends[part], start + LONGEST_DELTA)
        if self._frame[:3] != (part, start, end):
            text = self.said[part].since(start, end)
            frame = events.reply_delta(self.pk, part, start, text)
            self._frame = (part, start, end, frame)
        return self._frame[3], end


class Entry(NamedTuple):
    """A lasting event. A reader is told `ended` to its end before it hears of it."""

    version: int
    frame: str
    ended: LiveReply | None = None

    @property
    def size(self) -> int:
        """In characters, with the text that is held for readers who lack its end."""
        ended = self.ended.ends.values() if self.ended else ()
        return len(self.frame) + sum(ended)


class Room:
    """A conversation that somebody in this process looks at."""

    def __init__(self, pk: str, version: int = 0) -> None:
        self.pk = pk
        self.version = version
        self.log: deque[Entry] = deque()
        self._size = 0
        self.replies: dict[int, LiveReply] = {}
        self.readers: set[Reader] = set()

    def remember(self, entry: Entry) -> None:
        self.log.append(entry)
        self._size += entry.size
        while len(self.log) > LONGEST_LOG or (self._size > LARGEST_LOG and len(self.log) > 1):
            self._size -= self.log.popleft().size
        self.version = entry.version
        if entry.ended is not None:
            self.replies.pop(entry.ended.pk, None)

    def forget(self, version: int) -> None:
        """Skip to `version`; readers behind it need a snapshot."""
        self.log.clear()
        self._size = 0
        self.version = version

    def reaches_back_to(self, version: int) -> bool:
        """Can a reader who holds `version` be served from what is remembered?"""
        return version >= self.version or (bool(self.log) and version >= self.log[0].version - 1)

    def entry_after(self, version: int) -> Entry | None:
        if version >= self.version:
            return None
        # Versions have no gaps, so the place in the log can be counted.
        return self.log[version + 1 - self.log[0].version]

    def wake(self) -> None:
        for reader in self.readers:
            reader.wake()


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
        self.needs_snapshot = False
        self.waiting_size = 0
        self._max_unacked = max_unacked
        self._have: dict[int, dict[Part, int]] = {}
        self._retold: dict[int, LiveReply] = {}
        self._outbox: deque[tuple[str, int | None]] = deque()
        #: The version that the frames sent so far amount to: where to resume after them.
        self.told: int | None = None
        self._unacked: deque[int] = deque()
        self._unacked_size = 0
        self._acked = 0
        self.blocked_since: float | None = None

    # What comes in

    def tell(self, event: str, version: int | None = None) -> None:
        """Send a frame that has no place in a text: an answer, a hint, or one that
        brings the reader to `version`."""
        self._outbox.append((event, version))
        self.waiting_size += len(event)
        self.wake()

    def tell_from(self, version: int, replies: Mapping[int, Mapping[Part, int]]) -> None:
        """From now on the reader holds `version`, and of the replies this much."""
        self.version = version
        self.needs_snapshot = False
        for pk, have in replies.items():
            self._have[pk] = {part: max(have.get(part, 0), 0) for part in PARTS}
        self.wake()

    def tell_again(self, live: LiveReply, have: Mapping[Part, int]) -> None:
        """Tell a reply on from where the reader says that it stands, ended or not."""
        self._have[live.pk] = {part: min(max(have.get(part, 0), 0), live.ends[part]) for part in PARTS}
        if self.room is None or live.pk not in self.room.replies:
            self._retold[live.pk] = live
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
            self._unacked_size -= self._unacked.popleft()
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
    def is_blocked(self) -> bool:
        """Is as much on its way as a socket may cost?"""
        return self._unacked_size > self._max_unacked

    def frame_to_send(self, now: float) -> str | None:
        """Return the next frame, or None where there is nothing (more) to send."""
        frame = self._next_of_outbox() if self._outbox else self._next_of_room(now)
        if frame is None:
            return None
        # Characters, not bytes: within a factor that the bound allows for, and free.
        self._unacked.append(len(frame))
        self._unacked_size += len(frame)
        return frame

    def _next_of_outbox(self) -> str:
        frame, version = self._outbox.popleft()
        self.waiting_size -= len(frame)
        if version is not None:
            self.told = version
        return frame

    def _next_of_room(self, now: float) -> str | None:
        if self.room is None or self.version is None or self.needs_snapshot:
            return None
        if self.close_code is not None:
            # It may be somebody who has just lost the right to know.
            return None
        if self.is_blocked:
            if self.blocked_since is None and self._has_more(self.room, self.version):
                self.blocked_since = now
            return None
        return (
            self._next_retold()
            or self._next_entry(self.room, self.version)
            or self._next_delta(self.room.replies.values())
        )

    def _has_more(self, room: Room, version: int) -> bool:
        behind = any(self._is_behind(live) for live in room.replies.values())
        return behind or bool(self._retold) or room.version > version

    def _is_behind(self, live: LiveReply) -> bool:
        have = self._have.get(live.pk) or {}
        return any(live.ends[part] > have.get(part, 0) for part in PARTS)

    def _next_retold(self) -> str | None:
        for live in list(self._retold.values()):
            if frame := self._delta_of(live):
                return frame
            del self._retold[live.pk]
            self._have.pop(live.pk, None)
        return None

    def _next_entry(self, room: Room, version: int) -> str | None:
        if version >= room.version:
            return None
        if not room.reaches_back_to(version):
            self.needs_snapshot = True
            return None
        entry = room.entry_after(version)
        assert entry is not None
        if entry.ended is not None:
            if frame := self._delta_of(entry.ended):
                return frame
            self._have.pop(entry.ended.pk, None)
        self.version = self.told = entry.version
        return entry.frame

    def _next_delta(self, replies: Any) -> str | None:
        for live in replies:
            if frame := self._delta_of(live):
                return frame
        return None

    def _delta_of(self, live: LiveReply) -> str | None:
        have = self._have.get(live.pk)
        if have is None:
            have = self._have[live.pk] = {"text": 0, "reasoning": 0}
        # Thinking comes before the answer, so that is the order in which it is told.
        for part in ("reasoning", "text"):
            if live.ends[part] > have[part]:
                frame, have[part] = live.frame(part, have[part])
                return frame
        return None
