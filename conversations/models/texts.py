"""The texts of messages: those that still grow piece by piece, and the beginnings of long ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.functions import Length, Substr

if TYPE_CHECKING:
    from .message import Message

#: Of a long message, the characters that are read where its beginning is enough.
BEGINNING = 32_768


class Piece(models.Model):
    """One stored gain of a reply that is still growing: the log behind the message.

    At the end of the reply its pieces become `Message.text` and are deleted.
    """

    class Part(models.TextChoices):
        TEXT = "text"
        REASONING = "reasoning"

    reply = models.ForeignKey("Message", models.CASCADE, related_name="pieces")
    part = models.CharField(max_length=9, choices=Part)
    #: In code points from the beginning of the part.
    start = models.PositiveIntegerField()
    text = models.TextField()

    class Meta:
        constraints = [
            # Two pieces cannot claim the same place: a zombie's write would fail here
            # even if the lease had not refused it.
            models.UniqueConstraint(fields=["reply", "part", "start"], name="one_piece_a_place")
        ]

    def __str__(self) -> str:
        return f"{self.part} {self.start}–{self.start + len(self.text)}"


def grown_texts(reply_ids: Iterable[int], limit: int | None = None) -> dict[int, dict[str, str]]:
    """Return what is stored of each running reply, `{reply: {part: text}}`; of longer ones at least the first `limit`
    characters.

    A database that loses what it had committed (PostgreSQL with synchronous_commit=off that is killed) leaves a gap. What
    is behind it has no place in the text that can be told, so the text ends there until the reply does.
    """
    texts: dict[int, dict[str, list[str]]] = {pk: {"text": [], "reasoning": []} for pk in reply_ids}
    ends: Counter[tuple[int, str]] = Counter()
    pieces = Piece.objects.filter(reply_id__in=list(texts)).order_by("start")
    if limit is not None:
        pieces = pieces.filter(start__lt=limit)
    for reply_id, part, start, text in pieces.values_list("reply_id", "part", "start", "text"):
        if start == ends[reply_id, part]:
            texts[reply_id][part].append(text)
            ends[reply_id, part] += len(text)
    return {pk: {part: "".join(found) for part, found in parts.items()} for pk, parts in texts.items()}


def beginnings(of: str = "") -> dict[str, Any]:
    """Columns of the first `BEGINNING` characters of a message's texts, and of how long these are."""
    return {
        "text_beginning": Substr(f"{of}text", 1, BEGINNING),
        "text_length": Length(f"{of}text"),
        "reasoning_beginning": Substr(f"{of}reasoning", 1, BEGINNING),
        "reasoning_length": Length(f"{of}reasoning"),
    }


def add_beginnings(row: Any, message: Message) -> None:
    """Give a row that refers to a message the same columns, from memory."""
    row.text_beginning, row.text_length = message.text[:BEGINNING], len(message.text)
    row.reasoning_beginning, row.reasoning_length = message.reasoning[:BEGINNING], len(message.reasoning)
