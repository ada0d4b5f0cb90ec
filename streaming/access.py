"""Whether those who are connected may still be: sessions and memberships, read anew.

What a socket was allowed when it opened says nothing about now. These run on the hub's
threads, for many sockets at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.models import User

from conversations.models import Membership

from .events import Close

#: A reader, whom it belongs to, the key of the session, and the conversation, if any.
Place = tuple[Any, int, str, str | None]


def user_of(user_id: int) -> User | None:
    """Return an active user, or None."""
    users = get_user_model()._default_manager
    return users.filter(pk=user_id, is_active=True).first()


def signed_in_user(session_key: str) -> int | None:
    """Return the key of the user whom a session, as it is stored now, signs in.

    Checks what a request would: that it exists and has not expired, that the password
    has not been changed since, that the user is active.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(SimpleNamespace(session=store))  # type: ignore[arg-type]
    return user.pk if user.is_authenticated and user.is_active else None


def refused(places: Iterable[Place]) -> list[tuple[Any, int]]:
    """Return the readers who may not stay, each with the code to close it with."""
    places = list(places)
    users = {key: signed_in_user(key) for key in {place[2] for place in places}}
    members = {
        (user_id, str(conversation_id))
        for user_id, conversation_id in Membership.objects.filter(
            conversation_id__in={place[3] for place in places if place[3]}
        ).values_list("user_id", "conversation_id")
    }
    found = []
    for reader, user_id, session_key, conversation_id in places:
        if users[session_key] != user_id:
            found.append((reader, Close.SIGNED_OUT))
        elif conversation_id and (user_id, conversation_id) not in members:
            found.append((reader, Close.NOT_FOUND))
    return found
