"""The list of a person's conversations, newest first, in pages.

A page begins behind a place in that order, not after a number of rows: the thousandth costs what the first does, and what is
said meanwhile moves nothing from one page to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import F, Q
from django.utils.dateparse import parse_datetime

from . import wire
from .models import Conversation, Shelf

#: Above all others, in one piece: who pins more has no list any more.
MOST_PINNED = 100


class Place(NamedTuple):
    """Where a page ends: when that conversation was last active, and which it is."""

    updated_at: datetime
    pk: UUID

    def __str__(self) -> str:
        return f"{self.updated_at.isoformat()}_{self.pk}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that an address names, None where it names none."""
        time, _, pk = text.partition("_")
        try:
            updated_at = parse_datetime(time)
            return cls(updated_at, UUID(pk)) if updated_at and updated_at.tzinfo else None
        except ValueError:
            return None


@dataclass(frozen=True)
class Page:
    """Lines of the list, and the place behind which the next page begins, if there is one."""

    pinned: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    end: Place | None


def load_page(
    user: User | AnonymousUser, after: Place | None = None, shelf: Shelf = Shelf.LISTED, folder: str = ""
) -> Page:
    """Return the first page of what `user` keeps on a shelf, or the one behind a place; of one folder alone, where one is
    named. With the first page of her list comes what is pinned above it."""
    rows = _rows(user, shelf, folder)
    if after is not None:
        older = ~Q(touched_at=after.updated_at) | Q(place__lt=after.pk)
        rows = rows.filter(older, touched_at__lte=after.updated_at)
    size = settings.CHAT.sidebar_conversations
    found = list(rows[: size + 1])
    shown = found[:size]
    end = Place(shown[-1].touched_at, shown[-1].place) if len(found) > size else None
    pinned = _rows(user, Shelf.PINNED, folder)[:MOST_PINNED] if after is None and shelf == Shelf.LISTED else ()
    return Page([_entry(row) for row in pinned], [_entry(row) for row in shown], end)


def _entry(row: Any) -> dict[str, Any]:
    return {**wire.sidebar_entry(row), "updated_at": row.updated_at}


def _rows(user: User | AnonymousUser, shelf: Shelf, folder: str) -> Any:
    rows = (
        Conversation.objects.visible_to(user)
        .with_running()
        # By these names, because a filter by those of the membership would join it once more.
        .annotate(
            seen_version=F("membership__seen_version"),
            touched_at=F("membership__updated_at"),
            place=F("membership__conversation_id"),
        )
        .defer("system_prompt")
        .on_shelf(shelf)
    )
    return rows.in_folder(folder) if folder else rows
