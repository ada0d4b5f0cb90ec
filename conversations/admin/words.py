"""Links and words that the pages of the history have in common."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..status import Status

EMPTY = "-"

STATUS_WORDS = {
    Status.QUEUED: _("queued"),
    Status.STREAMING: _("streaming"),
    Status.DONE: _("done"),
    Status.STOPPED: _("stopped"),
    Status.INTERRUPTED: _("interrupted"),
    Status.FAILED: _("failed"),
}


def link(url: str, text: object, css: str = "") -> SafeString:
    return format_html('<a href="{}" class="{}">{}</a>', url, css, text)


def conversation_url(conversation_id: object, message_id: int | None = None) -> str:
    """Return the page of a conversation; with a message, the branch through it, at its place."""
    url = reverse("admin:conversations_conversation_change", args=[conversation_id])
    return url if message_id is None else f"{url}?through={message_id}#message-{message_id}"


def message_url(message_id: int) -> str:
    return reverse("admin:conversations_message_change", args=[message_id])


def user_link(user: User | None) -> SafeString | str:
    if user is None:
        return EMPTY
    return link(reverse("admin:auth_user_change", args=[user.pk]), user.get_username())


def status_badge(status: str) -> SafeString:
    word = STATUS_WORDS[Status(status)]
    return format_html('<span class="badge badge-{}">{}</span>', status, word)


def tokens(usage: dict[str, Any] | None) -> str:
    """Return "read + written", or nothing where nobody counted."""
    if not usage:
        return EMPTY
    about = "≈ " if usage.get("estimated") else ""
    return f"{about}{localize(usage.get('prompt_tokens') or 0)} + {localize(usage.get('completion_tokens') or 0)}"
