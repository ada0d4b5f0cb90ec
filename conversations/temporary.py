"""Conversations that are not kept: in no list and no search, and erased when nobody has had them open for a while.

`looked_at` makes a conversation one of them. Whoever has it open writes down now and then that somebody looks; what was looked
at long ago, and where nothing has been said since, goes with all that was said in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Coalesce, Now

from .models import CONVERSATION_LOCK, Conversation, Message

#: How long those who have one open are given to say so, behind its time: they look every few seconds.
SECONDS_TO_SAY_SO = 30.0


def note_looks(is_open: Callable[[str], bool]) -> None:
    """Write down which of them are open here."""
    # Half of the time is left to each: one that is open is written to twice in that time, and not every few seconds.
    waiting = Conversation.objects.temporary().filter(looked_at__lt=Now() - period() / 2)
    look_at([pk for pk in waiting.values_list("pk", flat=True) if is_open(str(pk))])


def look_at(pks: list[UUID]) -> None:
    """Somebody looks at these. What is kept, or gone, stays so."""
    if pks:
        Conversation.objects.temporary().filter(pk__in=pks).update(looked_at=Now())


def load_due() -> list[UUID]:
    """Return those whose time is over, the oldest first."""
    return list(due().order_by("looked_at").values_list("pk", flat=True)[:100])


def due() -> QuerySet[Conversation]:
    """Those that nobody has looked at for so long, in which nothing was said for so long, and nobody is being answered."""
    begun = Now() - period()
    replies = Message.objects.running().filter(conversation=OuterRef("pk"))
    # No plain `updated_at`: nearly all conversations are that old, and its index has all of them.
    temporary = Conversation.objects.temporary().annotate(said_at=Coalesce("updated_at", "created_at"))
    old = temporary.filter(looked_at__lt=begun - timedelta(seconds=SECONDS_TO_SAY_SO), said_at__lt=begun)
    return old.filter(~Exists(replies))


@transaction.atomic
def erase(pk: UUID) -> bool:
    """Erase one of them with all that was said in it; False where somebody was first: another process, who asked there, or
    who keeps it."""
    # Read under the lock: who asks something takes it, too.
    CONVERSATION_LOCK.take(pk=pk)
    found = due().filter(pk=pk).first()
    if found is not None:
        found.erase()
    return found is not None


def period() -> timedelta:
    minutes: Any = settings.CHAT.temporary_minutes
    return timedelta(minutes=minutes)
