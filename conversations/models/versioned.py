"""A conversation under its lock: who changes it, and how each lasting change gets its number.

Versions have no gaps: each is given in the transaction that makes the change, while the row is held.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.apps import apps
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import search
from ..locks import Lock
from ..prepared import Select, Update, insert, parameter
from ..refusals import Refused
from .change import Change, tell_of
from .membership import TOUCH_MEMBERS, Membership, Role, Shelf
from .message import Message
from .texts import beginnings

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="Versioned")


def command(
    work: Callable[Concatenate[C, User, P], T],
) -> Callable[Concatenate[C, User, P], T]:
    """One command of a person: one transaction, under the lock of the conversation, with all that it changes written
    down at its end. It says no by raising Refused."""

    @wraps(work)
    def carry_out(self: C, user: User, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with transaction.atomic():
            self._lock(user)
            done = work(self, user, *args, **kwargs)
            self._write_changes()
        return done

    return carry_out


#: What a command has to know of its conversation, as it is under the lock.
STATE = ("title", "model", "system_prompt", "parameters", "looked_at", "head_id", "version", "my_role", "my_shelf")


class Versioned(models.Model):
    """What commands of a conversation have in common."""

    #: The last message of the branch that is shown, the same for all who look.
    head = models.ForeignKey("conversations.Message", models.SET_NULL, null=True, blank=True, related_name="+")
    #: The number of the newest lasting change, see `Change`.
    version = models.PositiveBigIntegerField(default=0, editable=False)
    updated_at = models.DateTimeField(_("last activity"), default=timezone.now, db_index=True)

    class Meta:
        abstract = True

    # Reading

    def branch(self, limit: int, before: Message | None = None, characters: int | None = None) -> list[Message]:
        """Return the last `limit` messages of the shown branch, oldest first; with
        `before`, the last ones ahead of that message."""
        leaf = self.head_id if before is None else before.parent_id
        return list(Message.objects.path_to(leaf, limit, characters).select_related("author"))

    def changes_after(self, version: int, limit: int) -> list[Change] | None:
        """Return the changes after `version`, oldest first, or None where they are more
        than `limit` or not all known (any more): a snapshot is the answer then."""
        if not 0 <= version <= self.version or self.version - version > limit:
            return None
        changes = list(
            Change.objects.filter(conversation_id=self.pk)
            .filter(version__gt=version, version__lte=self.version)
            .select_related("message", "message__author")
            # Two hundred texts of any length, else.
            .defer("message__text", "message__reasoning")
            .annotate(**beginnings("message__"))
            .order_by("version")
        )
        return changes if len(changes) == self.version - version else None

    # The steps that all commands are made of

    def _lock(self, user: User) -> None:
        """Make this the only command that changes the conversation until the commit,
        and load it as it is now, as `user` may see and change it."""
        CONVERSATION_LOCK.take(pk=self.pk)
        rows = STATE_UNDER_LOCK.rows(pk=self.pk, user=user.pk) if user.is_active else []
        if not rows:
            raise Refused("not_found", str(_("There is no such conversation.")))
        *state, self._locked_at, self._head_status = rows[0]
        for name, value in zip(STATE, state, strict=True):
            setattr(self, name, value)
        if self.my_role == Role.READER:
            raise Refused("forbidden", str(_("You may read here, not write.")))
        self._changes, self._changed_fields = [], {}

    def _change(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self._changed_fields |= {
            name: value.pk if isinstance(value, Message) else value for name, value in fields.items()
        }
        data = {name: str(value.pk) if isinstance(value, Message) else value for name, value in fields.items()}
        self._record(Change.Kind.CONVERSATION_CHANGED, data=data)

    def _record(self, kind: str, message: Message | None = None, data: Any = None) -> None:
        """Give one lasting change its number. It is written with the others, at the end of the command."""
        self.version += 1
        if kind == Change.Kind.MESSAGE_CREATED and message is not None:
            self.head = message
            self._changed_fields["head"] = message.pk
            data = {"head": str(message.pk)}
        change = Change(conversation_id=self.pk, version=self.version, kind=kind, message=message, data=data)
        self._changes.append(change)

    def _write_changes(self) -> None:
        if self._changes:
            fields = {"version": self.version, "updated_at": self._locked_at, **self._changed_fields}
            written(tuple(sorted(fields))).run(pk=self.pk, **fields)
            TOUCH_MEMBERS.run(pk=self.pk, at=self._locked_at)
            for change in self._changes:
                insert(change)
            tell_of(self._changes)

    #: What the command that runs has changed so far, and what of the row.
    _changes: list[Change]
    _changed_fields: dict[str, Any]
    #: Set by `visible_to` and by the lock: what the person who asked may do here.
    my_role: str = ""
    my_shelf: str = Shelf.LISTED
    _head_status: str | None
    #: When the lock was taken, by the database's clock: those of several machines need not agree, and other processes
    #: judge by it how long a reply has waited.
    _locked_at: datetime


def record_change(
    conversation_id: uuid.UUID,
    kind: str,
    *,
    message: Message | None = None,
    message_id: int | None = None,
    data: Any = None,
    head_id: int | None = None,
    said: str = "",
) -> int:
    """Record one lasting change of a conversation, which may give it another head,
    and return the version it was given. Must run inside a transaction: the UPDATE holds
    the row until the commit, which is what keeps the versions without gaps.

    Who gives the whole `message`, as it is from now on, spares those who tell of it the reading. By what is `said` in it,
    it is found from now on, where the conversation is kept.
    """
    if head_id is not None:
        conversations().filter(pk=conversation_id).update(head_id=head_id)
    NEXT_VERSION.run(pk=conversation_id)
    if not (newest := NEWEST.rows(pk=conversation_id)):
        raise the_model().DoesNotExist(str(conversation_id))
    [(version, updated_at, looked_at)] = newest
    TOUCH_MEMBERS.run(pk=conversation_id, at=updated_at)
    change = Change(
        conversation_id=conversation_id,
        version=version,
        kind=kind,
        data=data,
        **({"message_id": message_id} if message is None else {"message": message}),
    )
    insert(change)
    if said and message and looked_at is None:
        search.index(message.pk, said)
    tell_of([change])
    return change.version


# What every command asks of the database


def the_model() -> Any:
    """The conversations themselves, by name: they are made of what stands here."""
    return apps.get_model("conversations", "Conversation")


def conversations() -> Any:
    return the_model().objects.all()


CONVERSATION_LOCK = Lock(lambda: conversations().filter(pk=parameter(the_model(), "id", "pk")))
STATE_UNDER_LOCK = Select(
    lambda: (
        conversations()
        .of_member(parameter(Membership, "user"))
        .filter(pk=parameter(the_model(), "id", "pk"))
        .annotate(database_time=Now())
        .values_list(*STATE, "database_time", "head__status")
    )
)
NEWEST = Select(
    lambda: (
        conversations().filter(pk=parameter(the_model(), "id", "pk")).values_list("version", "updated_at", "looked_at")
    )
)
NEXT_VERSION = Update(
    lambda: conversations().filter(pk=parameter(the_model(), "id", "pk")),
    version=F("version") + 1,
    updated_at=Now(),
)


@cache
def written(fields: tuple[str, ...]) -> Update:
    """Return the statement that writes these fields of a conversation."""
    rows = partial(conversations().filter, pk=parameter(the_model(), "id", "pk"))
    return Update(rows, **{name: parameter(the_model(), name) for name in fields})
