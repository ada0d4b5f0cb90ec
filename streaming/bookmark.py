"""Up to where somebody has been told a conversation: what a connection goes on after. Pure.

Written `7,42.1200.300`: version 7, and of the running reply 42 this many code points of
text and of reasoning. It is the `id` of an event, comes back as `Last-Event-ID`, and may
stand in `?version=`, where a number alone says nothing of running replies.
"""

from __future__ import annotations

from typing import Any, Self

import msgspec

from conversations.text import key_in

from .events import MOST_SYNCED, Have, parameters
from .reply import Part


class _Message(msgspec.Struct):
    id: str = ""
    role: str = ""
    text: str = ""
    reasoning: str = ""
    #: Of a long one that has ended an event brings the beginnings; these are the ends.
    length: int | None = None
    reasoning_length: int = 0


class _Event(msgspec.Struct):
    """Of an event as much as moves a bookmark."""

    type: str = ""
    version: int | None = None
    reply: str = ""
    part: Part = "text"
    start: int = 0
    end: int = 0
    text_end: int = 0
    reasoning_end: int = 0
    length: int = 0
    message: _Message | None = None
    messages: list[_Message] = []
    replies: list[_Event] = []


_decode = msgspec.json.Decoder(_Event).decode


class Bookmark:
    """What somebody holds who has taken in all that was sent so far."""

    def __init__(self, version: int | None = None, replies: dict[str, Have] | None = None) -> None:
        self.version = version
        self.replies = replies or {}
        self._ends: dict[str, Have] = {}

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the bookmark that is written so, or None where it is none."""
        version, *replies = text.split(",")
        triples = [[key_in(number) for number in reply.split(".")] for reply in replies]
        key = key_in(version)
        if key is None or len(triples) > MOST_SYNCED or not all(map(_is_position, triples)):
            return None
        return cls(key, {str(pk): Have(text or 0, reasoning or 0) for pk, text, reasoning in triples})

    @classmethod
    def in_query(cls, query: bytes) -> Self | None:
        """Return the bookmark in `?version=…`, or None where there is none to be read."""
        return cls.parse(parameters(query).get("version", ""))

    def __str__(self) -> str:
        if self.version is None:
            return ""
        # Who follows more replies than this at once is told the others whole.
        newest = list(self.replies.items())[-MOST_SYNCED:]
        return ",".join([str(self.version), *(f"{pk}.{have.text}.{have.reasoning}" for pk, have in newest)])

    def receive(self, frame: str) -> None:
        """Take in an event that is sent."""
        event = _decode(frame)
        move = _MOVES.get(event.type)
        if move is not None:
            move(self, event)
        if event.version is not None:
            self.version = event.version

    def lacks(self, frame: str) -> str | None:
        """Return the reply whose end this frame tells, if not all of its text was sent."""
        if not frame.startswith('{"type":"reply_ended"'):
            return None
        event = _decode(frame)
        have = self.replies.get(event.reply, Have())
        return event.reply if event.length > have.text else None

    def _snapshot(self, event: _Event) -> None:
        self.replies = {reply.reply: Have(reply.text_end, reply.reasoning_end) for reply in event.replies}
        for message in event.messages:
            self._begin(message)

    def _created(self, event: _Event) -> None:
        message = event.message
        if message is None:
            return
        if message.role == "assistant":
            # Its end is told later, also where text of it has come with this already.
            self.replies[message.id] = Have(len(message.text), len(message.reasoning))
        else:
            self._begin(message)

    def _begin(self, message: _Message) -> None:
        if message.length is not None:
            self.replies[message.id] = Have(len(message.text), len(message.reasoning))
            self._ends[message.id] = Have(message.length, message.reasoning_length)

    def _grown(self, event: _Event) -> None:
        have = self.replies.setdefault(event.reply, Have())
        if event.start <= getattr(have, event.part) < event.end:
            setattr(have, event.part, event.end)
        if self._ends.get(event.reply) == have:
            del self.replies[event.reply], self._ends[event.reply]

    def _told_whole(self, event: _Event) -> None:
        self.replies[event.reply] = Have(event.text_end, event.reasoning_end)

    def _ended(self, event: _Event) -> None:
        self.replies.pop(event.reply, None)


def _is_position(numbers: list[int | None]) -> bool:
    return len(numbers) == 3 and None not in numbers


_MOVES: dict[str, Any] = {
    "conversation_snapshot": Bookmark._snapshot,
    "message_created": Bookmark._created,
    "reply_delta": Bookmark._grown,
    "reply_snapshot": Bookmark._told_whole,
    "reply_ended": Bookmark._ended,
}
