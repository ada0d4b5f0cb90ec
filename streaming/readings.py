"""What readers are told, as it is stored. These run on the threads of the hub."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Exists, OuterRef
from django.db.models.functions import Substr

from conversations import wire
from conversations.models import (
    Change,
    Conversation,
    Membership,
    Message,
    Piece,
    add_beginnings,
    grown_texts,
)
from conversations.prepared import Select, parameter, parameters

from . import access, events
from .cursors import CatchUp, Wanted, size_of
from .models import Run
from .reply import Part
from .rooms import LONGEST_LOG, Beginning, Entry, Have

#: Events since a version that are cheaper than a snapshot, in bytes.
LARGEST_CHANGES = 64 * 1024
#: SQLite takes at most 32,766 variables in a statement, and a row takes three.
ROWS_PER_SELECT = 5_000


class Found(NamedTuple):
    """What a reader who wanted it is told, and the texts of running replies that its room does not hold yet."""

    version: int
    catch_up: CatchUp
    mirrors: dict[int, dict[str, str]]


def load_catch_up(pk: str, user_id: int, wanted: Wanted, held: Collection[int]) -> Found | None:
    """Read what a reader wants. `held` are the replies that its room knows. None where the conversation cannot be
    seen (any more)."""
    user = access.user_of(user_id)
    conversation = Conversation.objects.visible_to(user).filter(pk=pk).first() if user else None
    if user is None or conversation is None:
        return None
    have, beginnings = _places(conversation, wanted.replies)
    entries, told = _entries_wanted(conversation, user, wanted)
    if wanted.catches_up:
        mark_seen(pk, [user.pk], conversation.version)
    version = conversation.version if wanted.catches_up else None
    running = conversation.messages.running().exclude(pk__in=held).values_list("pk", flat=True)
    return Found(conversation.version, CatchUp(version, entries, have | told, beginnings), grown_texts(running))


def _places(conversation: Conversation, wanted: dict[int, Have]) -> tuple[dict[int, Have], list[Beginning]]:
    """Return from where to tell these replies: those that run, and those that have ended."""
    found = conversation.messages.filter(pk__in=wanted).with_beginnings() if wanted else ()
    have, beginnings = {}, []
    for message in found:
        if message.is_running:
            have[message.pk] = wanted[message.pk]
        else:
            beginnings.append(Beginning(message.pk, wanted[message.pk], _ends_of(message)))
    return have, beginnings


def _ends_of(row: Any) -> Have:
    return {"text": row.text_length, "reasoning": row.reasoning_length}


def _entries_wanted(conversation: Conversation, user: User, wanted: Wanted) -> tuple[list[Entry], dict[int, Have]]:
    """Return the events to be told, and where a reader who was told them stands in the replies that run."""
    if not wanted.catches_up:
        return [], {}
    changes = None
    if wanted.version is not None:
        changes = conversation.changes_after(wanted.version, LONGEST_LOG)
    entries = None if changes is None else entries_of(changes, LARGEST_CHANGES)
    if entries is None:
        snapshot = wire.snapshot_to_send(conversation, user)
        replies = snapshot["replies"]
        _add_waits(replies)
        begun = tuple(_begun(message) for message in snapshot["messages"] if "length" in message)
        entries = [Entry(conversation.version, events.encode(snapshot), begun=begun)]
    else:
        # Of one that has not begun for this reader a snapshot says what it waits for, too.
        begun_for_it = [pk for pk, have in wanted.replies.items() if any(have.values())]
        replies = wire.replies_to_send(conversation, begun_for_it)
        _add_waits(replies)
        entries += [Entry(conversation.version, events.encode(reply)) for reply in replies]
    return entries, {
        int(reply["reply"]): {"text": reply["text_end"], "reasoning": reply["reasoning_end"]} for reply in replies
    }


def entries_of(changes: Iterable[Change], size: int | None = None) -> list[Entry] | None:
    """Return the events about changes; None where they are more than `size` bytes."""
    entries = []
    for change in changes:
        entry = _entry_of(change)
        entries.append(entry)
        if size is not None:
            size -= size_of(entry.frame)
            if size < 0:
                return None
    return entries


def _entry_of(change: Change) -> Entry:
    event = wire.changes_as_json([change])[0]
    entry = Entry(change.version, events.encode(event))
    if change.kind == Change.Kind.REPLY_ENDED:
        entry.reply, entry.ends = change.message_id, _ends_of(change)
    elif change.kind == Change.Kind.MESSAGE_CREATED and "length" in event["message"]:
        entry.begun = (_begun(event["message"]),)
    return entry


def _begun(message: dict[str, Any]) -> Beginning:
    return Beginning(
        int(message["id"]),
        {"text": message["text_end"], "reasoning": message["reasoning_end"]},
        {"text": message["length"], "reasoning": message["reasoning_length"]},
    )


def mark_seen(pk: str, users: Iterable[int], version: int) -> None:
    """These people have a conversation on their screens, up to `version`."""
    unseen = Membership.objects.filter(conversation_id=pk, user__in=users, seen_version__lt=version)
    unseen.update(seen_version=version)


def _add_waits(replies: list[dict[str, Any]]) -> None:
    waits = {
        str(run.reply_id): {
            "reason": run.waiting_reason,
            "until": wire.time_as_json(run.waiting_until),
        }
        for run in Run.objects.unended()
        .filter(reply_id__in=[int(reply["reply"]) for reply in replies])
        .exclude(waiting_until=None)
        if run.waiting_until
    }
    for reply in replies:
        reply["waiting"] = waits.get(reply["reply"])


class News(NamedTuple):
    """What is new in a conversation: the events (None where they are too many to be told one by one), the texts of
    replies that have ended with them, and of those that run without being known yet."""

    version: int
    entries: list[Entry] | None
    ended: dict[int, dict[str, str]]
    running: dict[int, dict[str, str]]


def load_news(pk: str, version: int, held: Collection[int]) -> News | None:
    """Return what has happened in a conversation since `version`. `held` are the replies whose texts are known."""
    conversation = Conversation.objects.filter(pk=pk).first()
    if conversation is None:
        return None
    running = set(conversation.messages.running().values_list("pk", flat=True))
    texts: dict[int, dict[str, str]] = {pk: {} for pk in running & set(held)}
    texts |= grown_texts(running - set(held))
    changes = conversation.changes_after(version, LONGEST_LOG)
    entries = None if changes is None else entries_of(changes)
    ended = {entry.reply for entry in entries or () if entry.reply is not None}
    return News(conversation.version, entries, whole_texts(ended), texts)


def news_of(changes: Sequence[Change]) -> News | None:
    """Return the same about changes that were committed here a moment ago, from memory; None where that does not hold
    the messages."""
    running: dict[int, dict[str, str]] = {}
    ended: dict[int, dict[str, str]] = {}
    for change in changes:
        if change.message_id is None:
            continue
        if not Change.message.is_cached(change):
            return None
        message = change.message
        assert message is not None
        add_beginnings(change, message)
        if change.kind == Change.Kind.REPLY_ENDED:
            ended[message.pk] = {"text": message.text, "reasoning": message.reasoning}
        elif message.is_running:
            running[message.pk] = {"text": message.prefix, "reasoning": ""}
    return News(changes[-1].version, entries_of(changes), ended, running)


def whole_texts(replies: Iterable[int]) -> dict[int, dict[str, str]]:
    rows = Message.objects.filter(pk__in=list(replies)).values_list("pk", "text", "reasoning")
    return {pk: {"text": text, "reasoning": reasoning} for pk, text, reasoning in rows}


def load_window(pk: int, part: str, start: int, size: int) -> str:
    """Return a piece of the text of a message that has ended: nothing of one that is gone."""
    found = Message.objects.filter(pk=pk).values_list(Substr(part, start + 1, size), flat=True)
    return found.first() or ""


VERSIONS = Select(
    lambda: Conversation.objects.filter(pk__in=parameters(Conversation, "id", "pks")).values_list("pk", "version")
)


def load_versions(pks: list[str]) -> dict[str, int]:
    """Return the versions of these conversations, of those that still exist."""
    # What so many need at once in order to be read would stay with the process for ever.
    some = (pks[first : first + access.PLACES_AT_ONCE] for first in range(0, len(pks), access.PLACES_AT_ONCE))
    return {str(pk): version for each in some for pk, version in VERSIONS.rows(pks=each)}


class StoredPiece(NamedTuple):
    reply: int
    part: Part
    start: int
    text: str


PIECES = """
    WITH held(reply_id, part, stop) AS (VALUES {values})
    SELECT piece.reply_id, piece.part, piece.start, piece.text
    FROM held JOIN {piece} piece
      ON piece.reply_id = held.reply_id AND piece.part = held.part AND piece.start >= held.stop
    ORDER BY piece.start
"""


def load_pieces(ends: dict[int, Have]) -> list[StoredPiece]:
    """Return the pieces behind these ends, of all replies in one statement."""
    rows = [(pk, part, end) for pk, have in ends.items() for part, end in have.items()]
    found: list[StoredPiece] = []
    for first in range(0, len(rows), ROWS_PER_SELECT):
        found += _pieces_behind(rows[first : first + ROWS_PER_SELECT])
    return found


def _pieces_behind(rows: Sequence[tuple[int, Part, int]]) -> list[StoredPiece]:
    one = "(%s::bigint, %s::text, %s::int)" if connection.vendor == "postgresql" else "(%s, %s, %s)"
    statement = PIECES.format(values=", ".join([one] * len(rows)), piece=Piece._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for row in rows for value in row])
        return [StoredPiece(*row) for row in cursor.fetchall()]


def load_newest(pks: list[str], ends: dict[int, Have]) -> tuple[dict[str, int], list[StoredPiece]]:
    """Return all that the safety net asks for: the versions of these conversations, and the pieces behind these ends."""
    return load_versions(pks), load_pieces(ends)


class Line(NamedTuple):
    """What the sidebar of one member says of a conversation."""

    member: int
    pk: UUID
    title: str
    updated_at: datetime
    version: int
    seen_version: int
    my_shelf: str
    my_folder: str | None
    running: bool


LINES = Select(
    lambda: (
        # What was deleted, or is temporary, has no line.
        Membership.objects.filter(
            conversation=parameter(Membership, "conversation", "pk"),
            conversation__deleted_at=None,
            conversation__looked_at=None,
        )
        .annotate(running=Exists(Message.objects.running().filter(conversation=OuterRef("conversation"))))
        .order_by("pk")
        .values_list(
            "user",
            *(f"conversation__{name}" for name in ("id", "title", "updated_at", "version")),
            "seen_version",
            "shelf",
            "folder",
            "running",
        )
    )
)


def load_sidebar_entries(pk: str, lookers: Collection[int] = ()) -> list[tuple[int, dict[str, Any]]]:
    """Return the line of one conversation in the sidebar of each of its members. Some of them look at it and have seen
    all of it."""
    lines = [Line(*row) for row in LINES.rows(pk=pk)]
    new_to = {line.member for line in lines if line.member in lookers and line.seen_version < line.version}
    if new_to:
        mark_seen(pk, new_to, lines[0].version)
    seen = [line._replace(seen_version=line.version) if line.member in new_to else line for line in lines]
    return [(line.member, wire.sidebar_entry(line)) for line in seen]
