"""Whether those who are connected may still be: sessions, people and memberships, read anew.

What a socket was allowed when it opened says nothing about now. A process looks at all
of its readers together, twice a second and in three queries, so it does not matter who
has changed a right, nor how: a signal, a hint that was lost, a command on another
machine or a hand in the database. These run on the hub's threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from conversations.models import Membership
from conversations.prepared import Select, parameter, parameters

from .events import Close

#: Between two of them others may use the thread.
PLACES_AT_ONCE = 500


class Place(NamedTuple):
    """Who sits where: the reader, whose it is, the session it came with, and the conversation, if any."""

    reader: Any
    user_id: int
    session_key: str
    conversation_id: str | None


def user_of(user_id: int) -> User | None:
    """Return an active user, or None."""
    users = get_user_model()._default_manager
    return users.filter(pk=user_id, is_active=True).first()


def refused(places: Iterable[Place]) -> list[tuple[Any, int]]:
    """Return the readers who may not stay, each with the code to close it with."""
    rest = iter(places)
    found: list[tuple[Any, int]] = []
    while some := list(islice(rest, PLACES_AT_ONCE)):
        found += _refused_of(some)
    return found


def _refused_of(places: list[Place]) -> list[tuple[Any, int]]:
    sessions = dict(SESSIONS.rows(keys={place.session_key for place in places}, now=timezone.now()))
    passwords = dict(PASSWORDS.rows(users={place.user_id for place in places}))
    members = _memberships(places)
    found = []
    for reader, user_id, session_key, conversation_id in places:
        session, password = sessions.get(session_key), passwords.get(user_id)
        if session is None or password is None or not _signs_in(session, user_id, password):
            found.append((reader, Close.SIGNED_OUT))
        elif conversation_id and (user_id, conversation_id) not in members:
            found.append((reader, Close.NOT_FOUND))
    return found


#: What sessions that have not expired say, sealed as they are.
SESSIONS = Select(
    lambda: Session.objects.filter(
        pk__in=parameters(Session, "session_key", "keys"), expire_date__gt=parameter(Session, "expire_date", "now")
    ).values_list("session_key", "session_data")
)
#: The sealed passwords of those who are active.
PASSWORDS = Select(
    lambda: User.objects.filter(pk__in=parameters(User, "id", "users"), is_active=True).values_list("pk", "password")
)
#: Not also by user: of two lists SQLite tries each pair.
MEMBERS = Select(
    lambda: Membership.objects.filter(
        conversation_id__in=parameters(Membership, "conversation", "conversations"), conversation__deleted_at=None
    ).values_list("user_id", "conversation_id")
)


def _memberships(places: list[Place]) -> set[tuple[int, str]]:
    looked_at = {place.conversation_id for place in places if place.conversation_id}
    return {(user_id, str(pk)) for user_id, pk in MEMBERS.rows(conversations=looked_at)} if looked_at else set()


@lru_cache(maxsize=10_000)
def _signs_in(session_data: str, user_id: int, password: str) -> bool:
    """Does this session sign this user in, who has this password now? As a request would
    ask it. The same three give the same answer, and to open a session costs much more
    than to read it."""
    session = SessionStore().decode(session_data)
    return (
        str(session.get(SESSION_KEY)) == str(user_id)
        and session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        and constant_time_compare(
            session.get(HASH_SESSION_KEY, ""),
            get_user_model()(password=password).get_session_auth_hash(),
        )
    )
