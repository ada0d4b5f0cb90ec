"""A branch of a conversation, to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models.functions import Substr

from ..models import Conversation, Message, grown_texts
from ..wire import siblings_of
from .words import status_badge

#: Messages of a branch on the page of a conversation.
TRANSCRIPT_MESSAGES = 100
#: What is shown of one message there; the whole stands on the page of the message.
TRANSCRIPT_CHARACTERS = 3000


def transcript(conversation: Conversation, query: Any) -> dict[str, Any]:
    """Return what the page of a conversation shows of a branch: the one through `?through=<message>`, else the shown
    one; with `?before=<message>` the part ahead of that message."""
    through = message_named(conversation, query.get("through"))
    before = message_named(conversation, query.get("before"))
    leaf = through.newest_leaf().pk if through else conversation.head_id
    path = path_with_texts(before.parent_id if before else leaf)
    is_part = before is not None
    if through is not None and before is None and through not in path:
        path, is_part = path_with_texts(through.pk), True
    shown = path[-TRANSCRIPT_MESSAGES:]
    siblings = siblings_of(shown)
    return {
        "transcript": [(message, versions(message, siblings[message.parent_id])) for message in shown],
        "is_other_branch": leaf != conversation.head_id,
        "leaf": leaf,
        "is_part": is_part,
        "older": shown[0] if len(path) > len(shown) else None,
    }


def message_named(conversation: Conversation, pk: str | None) -> Message | None:
    if pk and pk.isascii() and pk.isdigit() and len(pk) < 19:
        return conversation.messages.filter(pk=int(pk)).first()
    return None


def path_with_texts(leaf_id: int | None) -> Sequence[Message]:
    """Return the end of the way to a message, and one more. Each has `shown_text`, which is cut, and `is_cut`; of running
    replies it is what they have said so far."""
    limit = TRANSCRIPT_CHARACTERS
    rows = Message.objects.path_to(leaf_id, TRANSCRIPT_MESSAGES + 1).select_related("author")
    found = list(rows.defer("text", "reasoning").annotate(beginning=Substr("text", 1, limit + 1)))
    running = grown_texts(message.pk for message in found if message.is_running)
    for message in found:
        text = running[message.pk]["text"] if message.is_running else message.beginning  # type: ignore[attr-defined]
        message.shown_text, message.is_cut = text[:limit], len(text) > limit  # type: ignore[attr-defined]
        message.badge = status_badge(message.status)  # type: ignore[attr-defined]
    return found


def versions(message: Message, siblings: Sequence[int]) -> list[dict[str, Any]]:
    """Return the other wordings of a question or the other replies to it, if there are any."""
    if len(siblings) < 2:
        return []
    return [
        {"number": number, "url": f"?through={pk}#message-{pk}", "is_this": pk == message.pk}
        for number, pk in enumerate(siblings, start=1)
    ]
