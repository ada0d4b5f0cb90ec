"""How a conversation looks as JSON: on sockets, event streams, pages and in exports.

The names are those of the protocol. Rows in, plain dicts out.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from .models import Change, Conversation, Message, grown_texts

Json = dict[str, Any]

PROTOCOL = 1

#: Characters of the messages of one page: what a reader takes in over some minutes.
PAGE_CHARACTERS = 100_000


def time_as_json(time: datetime) -> str:
    """ISO 8601 in UTC, with milliseconds: `2026-05-04T03:02:01.000Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def user_as_json(user: User) -> Json:
    return {"id": str(user.pk), "name": user.get_full_name() or user.get_username()}


def message_as_json(message: Message, siblings: Sequence[int] = ()) -> Json:
    """Return one message. `siblings` are the keys of all messages with the same parent;
    without them the field is left out, and the reader counts what it has seen."""
    parent, sight = message.parent_id, message.sight_id
    shown: Json = {
        "id": str(message.pk),
        "client_id": message.client_id,
        "parent": None if parent is None else str(parent),
        "role": message.role,
        "author": user_as_json(message.author) if message.author else None,
        "text": message.text,
        "reasoning": message.reasoning,
        "status": message.status,
        "model": message.model,
        "created_at": time_as_json(message.created_at),
        "attachments": [],
        "finish_reason": message.finish_reason or None,
        "error": message.error,
        "usage": message.usage,
        "sight": None if sight is None else str(sight),
    }
    if siblings:
        shown["siblings"] = [str(pk) for pk in siblings]
    return shown


def messages_as_json(messages: Sequence[Message]) -> list[Json]:
    """Return messages of one conversation with their siblings, in two queries."""
    siblings = siblings_of(messages)
    return [message_as_json(message, siblings[message.parent_id]) for message in messages]


def siblings_of(messages: Sequence[Message]) -> dict[int | None, list[int]]:
    siblings: dict[int | None, list[int]] = defaultdict(list)
    if not messages:
        return siblings
    same = Message.objects.filter(conversation_id=messages[0].conversation_id)
    parents = {message.parent_id for message in messages}
    found = list(same.filter(parent_id__in=parents - {None}).values_list("parent_id", "pk"))
    if None in parents:
        found += same.filter(parent_id=None).values_list("parent_id", "pk")
    for parent, pk in sorted(found, key=lambda pair: pair[1]):
        siblings[parent].append(pk)
    return siblings


def conversation_as_json(conversation: Conversation) -> Json:
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "model": conversation.model,
        "role": conversation.my_role,
        "head": None if conversation.head_id is None else str(conversation.head_id),
    }


def sidebar_entry(conversation: Conversation) -> Json:
    """Return one line of the sidebar. Expects `with_running` and `seen_version`."""
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "updated_at": time_as_json(conversation.updated_at),
        "running": conversation.running,  # type: ignore[attr-defined]
        "unread": conversation.version > conversation.seen_version,  # type: ignore[attr-defined]
    }


def page_as_json(conversation: Conversation, before: Message | None = None) -> tuple[list[Json], bool]:
    """Return a page of the shown branch, oldest first, and whether older ones exist."""
    size = settings.CHAT.page_messages
    messages = conversation.branch(size + 1, before)
    shown = _newest_that_fit(messages[-size:])
    return messages_as_json(shown), len(messages) > len(shown)


def _newest_that_fit(messages: Sequence[Message]) -> Sequence[Message]:
    """Leave out the oldest where all of them would be more than a page is to hold; the
    newest stays, however long it is."""
    room = PAGE_CHARACTERS
    for count, message in enumerate(reversed(messages)):
        room -= len(message.text) + len(message.reasoning)
        if room < 0:
            return messages[-max(count, 1) :]
    return messages


def snapshot(conversation: Conversation, user: User) -> Json:
    """Return the whole of what a tab has to know to show a conversation.

    The version is read first by whoever loaded `conversation`: rows that are newer than
    it do no harm, because the events about them come again and say the same.
    """
    messages, more = page_as_json(conversation)
    members = conversation.members.order_by("pk")
    return {
        "type": "conversation_snapshot",
        "protocol": PROTOCOL,
        "version": conversation.version,
        "conversation": conversation_as_json(conversation),
        "you": user_as_json(user),
        "members": [user_as_json(member) for member in members],
        "messages": messages,
        "more": more,
        "replies": running_replies(conversation),
    }


def running_replies(conversation: Conversation) -> list[Json]:
    """Return every running reply of a conversation with the text that is stored."""
    replies = list(conversation.messages.running().order_by("pk"))
    texts = grown_texts(reply.pk for reply in replies)
    return [reply_snapshot(reply.pk, reply.status, **texts[reply.pk]) for reply in replies]


def reply_snapshot(reply: int, status: str, text: str, reasoning: str) -> Json:
    return {
        "type": "reply_snapshot",
        "reply": str(reply),
        "status": status,
        "text": text,
        "reasoning": reasoning,
        "text_end": len(text),
        "reasoning_end": len(reasoning),
    }


def changes_as_json(changes: Iterable[Change]) -> list[Json]:
    """Return the events that tell of lasting changes, in the order of their versions."""
    return [_CHANGES[Change.Kind(change.kind)](change) for change in changes]


def _message_created(change: Change) -> Json:
    assert change.message is not None
    # A reply that is running begins empty and grows by deltas; an ended one is whole.
    return _event(
        change,
        message=message_as_json(change.message),
        head=(change.data or {}).get("head"),
    )


def _message_changed(change: Change) -> Json:
    assert change.message is not None
    return _event(change, message=message_as_json(change.message))


def _conversation_changed(change: Change) -> Json:
    return _event(change, **(change.data or {}))


def _reply_ended(change: Change) -> Json:
    reply = change.message
    assert reply is not None
    return _event(
        change,
        reply=str(reply.pk),
        status=reply.status,
        model=reply.model,
        finish_reason=reply.finish_reason or None,
        length=len(reply.text),
        sha256=hashlib.sha256(reply.text.encode()).hexdigest(),
        usage=reply.usage,
        error=reply.error,
    )


def _event(change: Change, **fields: Any) -> Json:
    return {"type": change.kind, "version": change.version, **fields}


_CHANGES = {
    Change.Kind.MESSAGE_CREATED: _message_created,
    Change.Kind.MESSAGE_CHANGED: _message_changed,
    Change.Kind.CONVERSATION_CHANGED: _conversation_changed,
    Change.Kind.REPLY_ENDED: _reply_ended,
}
