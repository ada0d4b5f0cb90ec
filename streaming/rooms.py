"""What those who look at a conversation can be told from memory: the live ends of replies, the last events. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from conversations.text import beginning_of

from . import events
from .reply import PARTS, GrowingText, Part

if TYPE_CHECKING:
    from .cursors import Reader

Have = dict[Part, int]

#: Code points in one delta, and bytes of them as JSON. Who reads 1 KB/s takes such a
#: frame in within half of the time in which something has to be acknowledged.
LONGEST_DELTA = 15_000
LARGEST_DELTA = 16 * 1024
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
        self._frame: tuple[Part, int, int, str, int] = ("text", 0, 0, "", 0)

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
            self._frame = (part, start, end, *delta(self.pk, part, start, self.said[part].since(start, end)))
        return self._frame[3:]


def delta(pk: int, part: Part, start: int, text: str) -> tuple[str, int]:
    """Return a frame with as much of `text` as fits into it, and where that leads to."""
    text = beginning_of(text, LARGEST_DELTA)
    return events.reply_delta(pk, part, start, text), start + len(text)


class Beginning(NamedTuple):
    """A message whose event brings `have` of its texts, which go up to `ends`."""

    pk: int
    have: Have
    ends: Have


@dataclass(eq=False, slots=True)
class Entry:
    """A lasting event.

    Who has not been told a `reply` that has ended with it up to its `ends` is told so
    first, from memory as long as `ended` is held; and afterwards the rest of messages of
    which it has the beginnings.
    """

    version: int
    frame: str
    ended: LiveReply | None = None
    begun: tuple[Beginning, ...] = ()
    reply: int | None = None
    ends: Have = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ended is not None:
            self.reply, self.ends = self.ended.pk, dict(self.ended.ends)

    @property
    def size(self) -> int:
        """In characters, with the text that is held for readers who lack its end."""
        return len(self.frame) + (sum(self.ends.values()) if self.ended else 0)


class Room:
    """A conversation that somebody in this process looks at."""

    def __init__(self, pk: str, version: int | None = None) -> None:
        self.pk = pk
        self.version = version or 0
        #: Has it been found out at which version the conversation is? 0 is one, too.
        self.is_known = version is not None
        self.log: list[Entry] = []
        self._size = 0
        self.replies: dict[int, LiveReply] = {}
        self.readers: set[Reader] = set()

    def remember(self, entry: Entry) -> None:
        self.log.append(entry)
        self._size += entry.size
        self._let_go_of_texts()
        while len(self.log) > LONGEST_LOG or (self._size > LARGEST_LOG and len(self.log) > 1):
            self._size -= self.log.pop(0).size
        self.version, self.is_known = entry.version, True
        if entry.reply is not None:
            self.replies.pop(entry.reply, None)

    def _let_go_of_texts(self) -> None:
        """Of a text that has ended the store has a copy, so it goes first; the newest stays, for those who lack
        no more than its last words."""
        for entry in islice(self.log, len(self.log) - 1):
            if self._size > LARGEST_LOG and entry.ended is not None:
                self._size -= entry.size
                entry.ended = None
                self._size += entry.size

    def forget(self, version: int) -> None:
        """Skip to `version`; readers behind it need a snapshot."""
        self.log.clear()
        self._size = 0
        self.version, self.is_known = version, True

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
