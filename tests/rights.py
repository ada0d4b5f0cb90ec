"""All that takes a right away, made for one person each: by the models, as the doors of the product do it, or in the rows.

Runs in the process of a test, and as a program of its own: `manage.py shell -c "from tests.rights import ..."`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session

from conversations.models import Conversation, Membership, Message
from conversations.search import SearchTerms
from streaming.models import Run


def user(name: str) -> User:
    found: User = get_user_model().objects.get(username=name)
    return found


# By the models: signals tell of it.


def sign_out(name: str, session_key: str) -> None:
    SessionStore(session_key).flush()


def change_password(name: str, session_key: str) -> None:
    person = user(name)
    person.set_password("a quite new password")
    person.save()


def deactivate(name: str, session_key: str) -> None:
    person = user(name)
    person.is_active = False
    person.save()


def delete_session(name: str, session_key: str) -> None:
    Session.objects.filter(pk=session_key).delete()


def remove_member(name: str, session_key: str) -> None:
    Membership.objects.get(user__username=name).delete()


def delete_conversation(name: str, session_key: str) -> None:
    person = user(name)
    Conversation.objects.get(members=person).remove(person)


BY_MODELS: dict[str, Callable[[str, str], None]] = {
    function.__name__: function
    for function in (sign_out, change_password, deactivate, delete_session, remove_member, delete_conversation)
}


# In the rows: nobody is told.


def without_signals(change: str, name: str, session_key: str) -> None:
    person = user(name)
    match change:
        case "sign_out" | "delete_session":
            erase(Session.objects.filter(pk=session_key))
        case "change_password":
            User.objects.filter(pk=person.pk).update(password=make_password("a quite new password"))
        case "deactivate":
            User.objects.filter(pk=person.pk).update(is_active=False)
        case "remove_member":
            erase(Membership.objects.filter(user=person))
        case "delete_conversation":
            found = Conversation.objects.get(members=person)
            Conversation.objects.filter(pk=found.pk).update(head=None)
            erase(Run.objects.filter(reply__conversation=found))
            erase(Membership.objects.filter(conversation=found))
            erase(found.changes.all())
            erase(SearchTerms.objects.filter(message__conversation=found))
            erase(Message.objects.filter(conversation=found))
            erase(Conversation.objects.filter(pk=found.pk))


def erase(rows: object) -> None:
    rows._raw_delete("default")  # type: ignore[attr-defined]


def make(change: str, name: str, session_key: str, *, signals: bool = True) -> float:
    """Do it; when it was done, by a clock that all processes of a machine share."""
    if signals:
        BY_MODELS[change](name, session_key)
    else:
        without_signals(change, name, session_key)
    return time.monotonic()


def make_all(people: list[tuple[str, str, str]]) -> None:
    """Do all of it, and print when each was done."""
    for change, name, session_key in people:
        print(change, make(change, name, session_key), flush=True)
