"""Folders: one name that a person gives a place in her own list, and nobody else's.

A folder is no row: it is there as long as something is in it. A conversation is in one or none, so the list of a folder is read
in order from one index, as the whole list is, and nothing has to be kept in step with it.
"""

from __future__ import annotations

from functools import partial

from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.utils.translation import gettext as _

from . import signals
from .models import Conversation, Membership
from .refusals import Refused
from .text import storable

LONGEST_NAME = 40
#: Of one person: as many as a list of names is any help with.
MOST_FOLDERS = 100


def named(name: str) -> str:
    """Return the name of a folder as it is kept: one line."""
    return " ".join(storable(name).split())


def folders_of(user: User | AnonymousUser) -> list[str]:
    """Return the names of somebody's folders, in their order."""
    if not user.is_authenticated:
        return []
    used = Membership.objects.filter(user=user.pk, folder__isnull=False)
    return sorted(filter(None, used.order_by().values_list("folder", flat=True).distinct()), key=str.casefold)


def put_in(conversation: Conversation, user: User, name: str) -> None:
    """Put a conversation into a folder of `user`, which is made by that, or take it out where the name is empty."""
    folder = named(name) or None
    if folder is not None:
        _check(user, folder)
    mine = Membership.objects.filter(conversation_id=conversation.pk, user=user)
    with transaction.atomic():
        if mine.update(folder=folder):
            told = partial(signals.shelved.send_robust, sender=Conversation, conversation_id=conversation.pk)
            transaction.on_commit(told)


def _check(user: User, folder: str) -> None:
    if len(folder) > LONGEST_NAME:
        raise Refused("too_large", _("The name of a folder has at most %d characters.") % LONGEST_NAME)
    known = folders_of(user)
    if folder not in known and len(known) >= MOST_FOLDERS:
        raise Refused("too_large", _("You have %d folders. Empty one of them first.") % MOST_FOLDERS)
