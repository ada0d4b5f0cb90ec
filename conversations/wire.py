"""How a conversation looks as JSON: on sockets, event streams, pages and in exports.

The names are those of the protocol. Rows in, plain dicts out.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import User

from .finding import Found
from .models import BEGINNING, Change, Conversation, Message, feedback_of, grown_texts
from .text import beginning_of

Json = dict[str, Any]

PROTOCOL = 1

#: Characters of the messages of one page: what a reader takes in over some minutes.
PAGE_CHARACTERS = 100_000
#: What is brought at once to whoever looks for a message far above: so many messages, and none ahead of so many characters.
MANY_MESSAGES = 500
MANY_CHARACTERS = 1_000_000
#: What one event brings of each part of a message, in bytes as JSON; the rest follows as deltas.
LARGEST_PART = 32 * 1024
#: The messages in a snapshot that is sent, and the running replies beside them, in bytes as JSON.
LARGEST_PAGE = 96 * 1024
LARGEST_REPLIES = 32 * 1024

_encode = msgspec.json.Encoder().encode


def time_as_json(time: datetime) -> str:
    """ISO 8601 in UTC, with milliseconds: `2026-05-04T03:02:01.000Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def user_as_json(user: User) -> Json:
    return {"id": str(user.pk), "name": user.get_full_name() or user.get_username()}


def message_as_json(message: Message, siblings: Sequence[int] = (), beginning: Any = None) -> Json:
    """Return one message, whole, or as much of its texts as one event brings, where a row with their beginnings is
    given. `siblings` are the keys of all messages with the same parent; without them the field is left out, and the
    reader counts what it has seen."""
    parent, sight = message.parent_id, message.sight_id
    shown: Json = {
        "id": str(message.pk),
        "client_id": message.client_id,
        "parent": None if parent is None else str(parent),
        "role": message.role,
        "author": user_as_json(message.author) if message.author else None,
        **(_whole_text(message) if beginning is None else _text_to_send(beginning)),
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


def _whole_text(message: Message) -> Json:
    return {"text": message.text, "reasoning": message.reasoning}


def _text_to_send(row: Any) -> Json:
    text = beginning_of(row.text_beginning, LARGEST_PART)
    reasoning = beginning_of(row.reasoning_beginning, LARGEST_PART)
    given: Json = {"text": text, "reasoning": reasoning}
    if (len(text), len(reasoning)) != (row.text_length, row.reasoning_length):
        given |= {"text_end": len(text), "reasoning_end": len(reasoning)}
        given |= {"length": row.text_length, "reasoning_length": row.reasoning_length}
    return given


def messages_as_json(messages: Sequence[Message]) -> list[Json]:
    """Return messages of one conversation with their siblings, in two queries."""
    siblings = siblings_of(messages)
    return [message_as_json(message, siblings[message.parent_id]) for message in messages]


def siblings_of(messages: Sequence[Message]) -> dict[int | None, list[int]]:
    siblings: dict[int | None, list[int]] = defaultdict(list)
    if not messages:
        return siblings
    parents = {message.parent_id for message in messages}
    # Without their conversation: a database might look through all of that.
    found = list(Message.objects.filter(parent_id__in=parents - {None}).values_list("parent_id", "pk"))
    if None in parents:
        same = Message.objects.filter(conversation_id=messages[0].conversation_id)
        found += same.filter(parent_id=None).values_list("parent_id", "pk")
    for parent, pk in sorted(found, key=lambda pair: pair[1]):
        siblings[parent].append(pk)
    return siblings


def conversation_as_json(conversation: Conversation) -> Json:
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
        "parameters": conversation.parameters or {},
        "temporary": conversation.is_temporary,
        "role": conversation.my_role,
        "head": None if conversation.head_id is None else str(conversation.head_id),
    }


def sidebar_entry(conversation: Any) -> Json:
    """Return one line of the sidebar. Expects a conversation `with_running` and `seen_version`, or what has the same."""
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "updated_at": time_as_json(conversation.updated_at),
        "shelf": conversation.my_shelf,
        "folder": conversation.my_folder,
        "running": conversation.running,
        "unread": conversation.version > conversation.seen_version,
    }


def page_as_json(conversation: Conversation, before: Message | None = None) -> tuple[list[Json], bool]:
    """Return a page of the shown branch, oldest first, and whether older ones exist."""
    size = settings.CHAT.page_messages
    shown = _newest_that_fit(conversation.branch(size, before, PAGE_CHARACTERS + 1))
    return messages_as_json(shown), has_older(shown)


def pages_as_json(conversation: Conversation, before: Message, through: Message) -> tuple[list[Json], bool]:
    """Return the messages of the shown branch ahead of `before`, oldest first, as far as `through` with some ahead of it,
    but no more than some pages of them; and whether older ones exist."""
    shown = conversation.branch(MANY_MESSAGES, before, MANY_CHARACTERS)
    first = next((place for place, message in enumerate(shown) if message.pk == through.pk), 0)
    shown = shown[max(first - settings.CHAT.page_messages // 4, 0) :]
    return messages_as_json(shown), has_older(shown)


def has_older(shown: Sequence[Message]) -> bool:
    return bool(shown) and shown[0].parent_id is not None


def _newest_that_fit(messages: Sequence[Message]) -> Sequence[Message]:
    """Leave out the oldest where all of them would be more than a page is to hold; the
    newest stays, however long it is."""
    room = PAGE_CHARACTERS
    for count, message in enumerate(reversed(messages)):
        room -= len(message.text) + len(message.reasoning)
        if room < 0:
            return messages[-max(count, 1) :]
    return messages


def _page_to_send(conversation: Conversation) -> tuple[list[Json], bool]:
    """Return the newest page as far as it fits into a frame, and whether older messages exist."""
    size = settings.CHAT.page_messages
    path = Message.objects.path_to(conversation.head_id, size + 1).select_related("author")
    messages = list(path.with_beginnings())
    siblings = siblings_of(messages)
    shown: list[Json] = []
    room = LARGEST_PAGE
    for message in reversed(messages[-size:]):
        told = message_as_json(message, siblings[message.parent_id], message)
        room -= len(_encode(told))
        if room < 0 and shown:
            break
        shown.insert(0, told)
    return shown, len(messages) > len(shown)


def snapshot(conversation: Conversation, user: User) -> Json:
    """Return the whole of what a page has to know to show a conversation.

    The version is read first by whoever loaded `conversation`: rows that are newer than
    it do no harm, because the events about them come again and say the same.
    """
    return _snapshot(conversation, user, *page_as_json(conversation), running_replies(conversation))


def snapshot_to_send(conversation: Conversation, user: User) -> Json:
    """Return the same for a frame, which has to be small: of long texts it has the beginnings."""
    return _snapshot(conversation, user, *_page_to_send(conversation), replies_to_send(conversation))


def _snapshot(conversation: Conversation, user: User, messages: list[Json], more: bool, replies: list[Json]) -> Json:
    members = conversation.members.order_by("pk")
    return {
        "type": "conversation_snapshot",
        "protocol": PROTOCOL,
        "version": conversation.version,
        "conversation": conversation_as_json(conversation),
        "you": user_as_json(user),
        "members": [user_as_json(member) for member in members],
        "messages": with_feedback(messages, user),
        "more": more,
        "replies": replies,
    }


def with_feedback(messages: list[Json], user: User) -> list[Json]:
    """Add to each message what this reader thinks of it: `feedback`, where there is any."""
    given = feedback_of(user, [int(message["id"]) for message in messages if message["role"] == Message.Role.ASSISTANT])
    for message in messages:
        if value := given.get(int(message["id"])):
            message["feedback"] = value
    return messages


def running_replies(conversation: Conversation) -> list[Json]:
    """Return every running reply of a conversation with the text that is stored."""
    replies = list(conversation.messages.running().order_by("pk"))
    texts = grown_texts(reply.pk for reply in replies)
    return [reply_snapshot(reply.pk, reply.status, **texts[reply.pk]) for reply in replies]


def replies_to_send(conversation: Conversation, leave_out: Collection[int] = ()) -> list[Json]:
    """Return every running reply with as much of its text as there is room for in a frame."""
    replies = list(conversation.messages.running().exclude(pk__in=leave_out).order_by("pk"))
    room = LARGEST_REPLIES // max(2 * len(replies), 1)
    texts = grown_texts((reply.pk for reply in replies), BEGINNING)
    return [
        reply_snapshot(
            reply.pk, reply.status, **{part: beginning_of(text, room) for part, text in texts[reply.pk].items()}
        )
        for reply in replies
    ]


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
        message=message_as_json(change.message, beginning=change),
        head=(change.data or {}).get("head"),
    )


def _message_changed(change: Change) -> Json:
    assert change.message is not None
    return _event(change, message=message_as_json(change.message, beginning=change))


def _conversation_changed(change: Change) -> Json:
    return _event(change, **(change.data or {}))


def _reply_ended(change: Change) -> Json:
    reply = change.message
    assert reply is not None
    # Mostly not kept with the row: of many changes one text at a time is enough.
    has_text = "text" not in reply.get_deferred_fields()
    text = reply.text if has_text else Message.objects.filter(pk=reply.pk).values_list("text", flat=True).first() or ""
    return _event(
        change,
        reply=str(reply.pk),
        status=reply.status,
        model=reply.model,
        finish_reason=reply.finish_reason or None,
        length=len(text),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
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


def found_as_json(found: Found) -> Json:
    """Return what a search has found: conversations by their titles, messages with the part of their text that shows why.
    `marks` are the places of the hits in `text`, from and to, in code points."""
    return {
        "conversations": [
            {"id": str(each.pk), "title": each.title, "updated_at": time_as_json(each.updated_at)}
            for each in found.conversations
        ],
        "messages": [
            {
                "id": str(hit.message.pk),
                "conversation": str(hit.message.conversation_id),
                "title": hit.message.conversation.title,
                "role": hit.message.role,
                "author": user_as_json(hit.message.author) if hit.message.author else None,
                "created_at": time_as_json(hit.message.created_at),
                "text": hit.excerpt.text,
                "marks": hit.excerpt.marks,
            }
            for hit in found.hits
        ],
        "more": found.more,
    }
