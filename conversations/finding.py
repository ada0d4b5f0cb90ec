"""What a person finds in all that she may read: conversations by their titles, messages by what was said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import CharField, Exists, OuterRef, QuerySet
from django.db.models.functions import Cast

from . import search
from .excerpts import Excerpt, excerpt
from .models import Conversation, ConversationQuerySet, Message, Shelf
from .search import LONGEST_QUERY, folded

#: On one page of what was found.
MESSAGES_AT_ONCE = 20
TITLES_AT_ONCE = 6
#: So many of the newest conversations are looked through for their titles. An older one is found by what was said in it, of
#: which its title is mostly the beginning.
TITLES_LOOKED_THROUGH = 2_000
#: Whoever may read no more than so many conversations has all that was said there looked at.
FEW_CONVERSATIONS = 200


class Titled(NamedTuple):
    """A conversation that was found by its title."""

    pk: UUID
    title: str
    updated_at: datetime


@dataclass(frozen=True)
class Hit:
    """A message that was found, and the part of its text that shows why."""

    message: Message
    query: str = field(repr=False)

    @cached_property
    def excerpt(self) -> Excerpt:
        return excerpt(self.message.text, self.query)


@dataclass(frozen=True)
class Found:
    """One page of what was found, newest first."""

    conversations: list[Titled]
    hits: list[Hit]
    more: bool

    @property
    def last(self) -> int | None:
        """The message behind which the next page begins."""
        return self.hits[-1].message.pk if self.more else None


def find(user: User | AnonymousUser, query: str, before: int | None = None) -> Found:
    """Return what `user` may read and a query finds: a page of messages that are older than `before`, and with the first of
    them the conversations with such a title. Without a query those are the newest ones."""
    named = [] if before else titled(list(islice(with_title(user, query), TITLES_AT_ONCE)))
    mine = Conversation.objects.visible_to(user)
    messages = Message.objects.filter(Exists(mine.filter(pk=OuterRef("conversation"))))
    keys = search.newest(query, messages, MESSAGES_AT_ONCE + 1, before, few=partial(in_few, mine))
    page = (
        Message.objects.filter(pk__in=keys[:MESSAGES_AT_ONCE]).order_by("-pk").select_related("conversation", "author")
    )
    hits = [Hit(message, query) for message in page.defer("reasoning", "conversation__system_prompt")]
    return Found(named, hits, len(keys) > MESSAGES_AT_ONCE)


def in_few(mine: ConversationQuerySet) -> QuerySet[Message] | None:
    """Return what was said in these conversations if they are few."""
    pks = list(mine.values_list("pk", flat=True)[: FEW_CONVERSATIONS + 1])
    return Message.objects.filter(conversation__in=pks) if len(pks) <= FEW_CONVERSATIONS else None


def with_title(user: User | AnonymousUser, query: str) -> Iterator[UUID]:
    """Give the conversations whose title has all words of a query in it, newest first. Here and not in the database: SQLite
    knows large and small letters of ASCII alone."""
    words = folded(query[:LONGEST_QUERY]).split()
    mine = Conversation.objects.visible_to(user)
    for shelf in (Shelf.PINNED, Shelf.LISTED, Shelf.ARCHIVED) if words else (Shelf.LISTED,):
        # As plain words: most are looked at and passed over.
        rows = mine.on_shelf(shelf).annotate(key=Cast("pk", CharField())).values_list("title", "key")
        for title, key in rows[:TITLES_LOOKED_THROUGH].iterator(chunk_size=200):
            told = folded(title)
            if all(word in told for word in words):
                yield UUID(key)


def titled(pks: list[UUID]) -> list[Titled]:
    """Return these conversations, in this order."""
    if not pks:
        return []
    rows = Conversation.objects.filter(pk__in=pks).values_list("pk", "title", "updated_at")
    found = {row[0]: Titled(*row) for row in rows}
    return [found[pk] for pk in pks if pk in found]
