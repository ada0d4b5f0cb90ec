"""What readers are told, as it is stored. These run on the threads of the hub."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F

from conversations import wire
from conversations.models import (
    Change,
    Conversation,
    Membership,
    Message,
    Piece,
    grown_texts,
)

from .cursors import LONGEST_LOG, LiveReply
from .models import Run


def load_snapshot(pk: str, user: User) -> dict[str, Any] | None:
    conversation = Conversation.objects.visible_to(user).filter(pk=pk).first()
    if conversation is None:
        return None
    mark_seen(pk, [user.pk], conversation.version)
    found = wire.snapshot(conversation, user)
    _add_waits(found["replies"])
    return found


def load_changes(pk: str, user: User, version: int) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]] | None:
    """Return the version, the events since `version`, and the running replies."""
    conversation = Conversation.objects.visible_to(user).filter(pk=pk).first()
    if conversation is None:
        return None
    changes = conversation.changes_after(version, LONGEST_LOG)
    if changes is None:
        return None
    mark_seen(pk, [user.pk], conversation.version)
    replies = wire.running_replies(conversation)
    _add_waits(replies)
    return conversation.version, wire.changes_as_json(changes), replies


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


def load_entries(pk: str, version: int) -> tuple[int, list[Change] | None, dict[int, dict[str, str]]] | None:
    """Return the version of a conversation, its changes after `version`, and the stored
    texts of its running replies."""
    conversation = Conversation.objects.filter(pk=pk).first()
    if conversation is None:
        return None
    changes = conversation.changes_after(version, LONGEST_LOG)
    running = conversation.messages.running().values_list("pk", flat=True)
    return conversation.version, changes, grown_texts(running)


def load_versions(pks: list[str]) -> dict[str, int]:
    rows = Conversation.objects.filter(pk__in=pks).values_list("pk", "version")
    return {str(pk): version for pk, version in rows}


def load_pieces(reply_id: int, ends: dict[Any, int]) -> list[tuple[Any, int, str]]:
    return [
        piece
        for part, end in ends.items()
        for piece in Piece.objects.filter(reply_id=reply_id, part=part, start__gte=end)
        .order_by("start")
        .values_list("part", "start", "text")
    ]


def load_replies(pk: str, replies: Iterable[int]) -> dict[int, LiveReply]:
    """Return replies of one conversation as they are stored, running or ended."""
    found = Message.objects.filter(conversation_id=pk, pk__in=list(replies))
    texts = grown_texts(message.pk for message in found if message.is_running)
    return {
        message.pk: LiveReply.mirror(
            message.pk,
            **texts.get(message.pk, {"text": message.text, "reasoning": message.reasoning}),
        )
        for message in found
    }


def load_sidebar_entries(pk: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the line of one conversation in the sidebar of each of its members."""
    rows = (
        Conversation.objects.filter(pk=pk)
        .with_running()
        .annotate(member=F("membership__user_id"), seen_version=F("membership__seen_version"))
    )
    return [
        (row.member, wire.sidebar_entry(row))  # type: ignore[attr-defined]
        for row in rows
        if row.member is not None  # type: ignore[attr-defined]
    ]
