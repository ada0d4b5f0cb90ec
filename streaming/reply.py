"""A running reply: a text that only grows, and what becomes of it. Pure.

Positions count Unicode code points, which is what Python's `len` counts. `said` is what
the model has said, `stored` how far of it is committed; readers are shown nothing
beyond `stored`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from conversations.status import Status, moved
from conversations.text import UNSTORABLE, storable

from .chunks import Chunk, Usage

Part = Literal["text", "reasoning"]
PARTS: tuple[Part, Part] = ("text", "reasoning")

HIGH_SURROGATE = re.compile(r"[\ud800-\udbff]\Z")  # $ would match before a line break, too


#: So many pieces of a growing text are joined when there are more of them.
MOST_PIECES = 1000


class GrowingText:
    """A text that is only ever added to, cheaply, and read from any position."""

    def __init__(self, text: str = "") -> None:
        self._pieces = [text] if text else []
        self._starts = [0] if text else []
        self._joined = len(self._pieces)
        self.end = len(text)

    def append(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._starts.append(self.end)
            self.end += len(text)
        if len(self._pieces) - self._joined > MOST_PIECES:
            # A token is four letters and, as an object of its own, a hundred bytes.
            self._pieces[self._joined :] = ["".join(self._pieces[self._joined :])]
            del self._starts[self._joined + 1 :]
            self._joined += 1

    def since(self, start: int, end: int | None = None) -> str:
        """Return the text from `start` up to `end` (else its end). What lies outside
        of it is empty."""
        start = max(start, 0)
        end = self.end if end is None else min(end, self.end)
        if start >= end:
            return ""
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, end - 1)
        offset = self._starts[first]
        # Nearly always it is the last piece that is asked for, whole.
        if last - first == 1 and start == offset and end == offset + len(self._pieces[first]):
            return self._pieces[first]
        joined = "".join(self._pieces[first:last])
        return joined[start - offset : end - offset]

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
            self._starts = [0]
            self._joined = 1
        return self._pieces[0] if self._pieces else ""


class Gain(NamedTuple):
    """What a reply has gained since the last time it was asked."""

    part: Part
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended. `code` and `detail` say what went wrong, if something did."""

    status: Status
    finish_reason: str = ""
    code: str = ""
    detail: str = ""
    retryable: bool = False

    @property
    def error(self) -> dict[str, str | bool] | None:
        if not self.code:
            return None
        return {"code": self.code, "detail": self.detail, "retryable": self.retryable}


@dataclass
class Reply:
    """What one reply has said so far, fed with chunks, drained by gains.

    `prefix` is the text it begins with (it continues one that was cut off); that much
    is stored already. `max_characters` is the site's limit for the text; the reply ends
    there as if the model had reached its own.
    """

    prefix: str = ""
    max_characters: int = 4_000_000
    status: Status = Status.QUEUED
    finish_reason: str = ""
    usage: Usage | None = None
    saw_done: bool = False
    saw_tool_call: bool = False
    said: dict[Part, GrowingText] = field(init=False)
    stored: dict[Part, int] = field(init=False)

    def __post_init__(self) -> None:
        self.said = {"text": GrowingText(self.prefix), "reasoning": GrowingText()}
        self.stored = {"text": len(self.prefix), "reasoning": 0}
        self._taken = dict(self.stored)
        self._half: dict[Part, str] = {"text": "", "reasoning": ""}

    # What comes in

    def receive_chunk(self, chunk: Chunk) -> bool:
        """Take in a chunk; return whether it brought anything a person could see.

        Keep-alives, usage and empty deltas do not count: the clocks run on tokens.
        """
        self.usage = chunk.usage or self.usage
        self.finish_reason = storable(chunk.finish_reason) or self.finish_reason
        self.saw_tool_call = self.saw_tool_call or chunk.tool_call
        if chunk.reasoning:
            self.receive_delta("reasoning", chunk.reasoning)
        if chunk.text:
            self.receive_delta("text", chunk.text)
        return bool(chunk.text or chunk.reasoning)

    def begin(self) -> None:
        """The first byte is there: the request will not be made again."""
        self.status = moved(self.status, Status.STREAMING)

    def receive_delta(self, part: Part, text: str) -> None:
        """Add to one part what can be stored and counted the same by every reader."""
        half = self._half[part]
        if half or UNSTORABLE.search(text):
            text = self._whole_characters(part, half + text)
        room = self.max_characters - self.said[part].end
        self.said[part].append(text[: max(room, 0)])

    def _whole_characters(self, part: Part, text: str) -> str:
        """Join an emoji that was cut in two by two chunks; replace what is no text."""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        half = HIGH_SURROGATE.search(text)
        self._half[part] = half.group() if half else ""
        return storable(text[: -1 if half else None])

    @property
    def is_full(self) -> bool:
        """Has one part come to the site's limit?"""
        return any(self.said[part].end >= self.max_characters for part in PARTS)

    # What goes out

    def gains_to_store(self) -> list[Gain]:
        """Return what was said since the last call, to be committed next."""
        gains = []
        for part, said in self.said.items():
            if said.end > self._taken[part]:
                gains.append(Gain(part, self._taken[part], said.since(self._taken[part])))
                self._taken[part] = said.end
        return gains

    def receive_stored(self, gains: list[Gain]) -> None:
        """These are committed: they may be shown."""
        for gain in gains:
            self.stored[gain.part] = gain.end

    def receive_all_stored(self) -> None:
        """All that was said is committed: the reply has become its message."""
        for part, said in self.said.items():
            self.stored[part] = said.end

    # How it ends

    def ending(self) -> Ending:
        """Return how a reply ends whose upstream has come to a clean end of its bytes."""
        if self.is_full:
            return Ending(Status.DONE, "length")
        if not self.finish_reason and not self.saw_done:
            return self.broken_off("cut_off", "The connection to the model ended in the middle of the reply.")
        if self.said["text"].end == len(self.prefix):
            return self._empty()
        return Ending(Status.DONE, self.finish_reason or "stop")

    def broken_off(self, code: str, detail: str, retryable: bool = True) -> Ending:
        """Return the ending of a reply that something went wrong with: `interrupted`
        if any of it was said, else `failed`."""
        status = Status.INTERRUPTED if self.has_spoken else Status.FAILED
        return Ending(status, self.finish_reason, code, detail, retryable)

    @property
    def has_spoken(self) -> bool:
        said = self.said
        return said["text"].end > len(self.prefix) or said["reasoning"].end > 0

    def _empty(self) -> Ending:
        reason = self.finish_reason
        if reason == "content_filter":
            sentence = "The provider's content filter held the reply back."
        elif reason == "length":
            sentence = "The model used up its tokens before it came to an answer."
        elif self.saw_tool_call:
            sentence = "The model asked for a tool, and there are none here."
        else:
            sentence = "The model sent an empty reply."
        return Ending(Status.FAILED, reason, "empty", sentence, retryable=True)
