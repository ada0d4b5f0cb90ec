"""A conversation, who may see it, and what may be done to it.

Every rule has one home here: `visible_to` decides who can load a conversation, and the
commands of the protocol are methods that write all their rows in one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, User
from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import search, signals
from ..locks import lock
from ..prepared import Select, Update, insert, parameter
from ..refusals import Refused
from ..status import RUNNING, Status
from ..text import first_line, key_in, storable
from .change import Change, tell_of
from .membership import TOUCH_MEMBERS, Membership, Role
from .message import TITLE_FROM_TEXT, Message
from .texts import Piece, beginnings

Viewer = User | AnonymousUser

#: Names the ids of conversations that began with a question.
FIRST_QUESTIONS = uuid.UUID("b0d9e1f4-6f5c-4f43-9a0e-6a0d3ad6a7c1")

P = ParamSpec("P")
T = TypeVar("T")


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: Viewer) -> Self:
        """The conversations that `user` is a member of. The only way to load one for
        a person: what is missing and what is somebody else's look the same."""
        if not user.is_authenticated or not user.is_active:
            return self.none().annotate(my_role=F("membership__role"))
        return self.of_member(user.pk)

    def of_member(self, user_id: Any) -> Self:
        """Those of somebody who may look, as `visible_to` finds out."""
        return self.filter(membership__user_id=user_id).annotate(my_role=F("membership__role"))

    def newest_first(self) -> Self:
        """In the order of the sidebar, for what is visible to somebody. Read from an index, however many there are."""
        return self.order_by("-membership__updated_at", "-membership__conversation_id")

    def with_running(self) -> Self:
        """Annotate `running`: somebody is being answered here."""
        replies = Message.objects.running().filter(conversation=models.OuterRef("pk"))
        return self.annotate(running=models.Exists(replies))


def command(
    work: Callable[Concatenate[Conversation, User, P], T],
) -> Callable[Concatenate[Conversation, User, P], T]:
    """One command of a person: one transaction, under the lock of the conversation, with all that it changes written
    down at its end. It says no by raising Refused."""

    @wraps(work)
    def carry_out(self: Conversation, user: User, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with transaction.atomic():
            self._lock(user)
            done = work(self, user, *args, **kwargs)
            self._write_changes()
        return done

    return carry_out


@dataclass(frozen=True)
class Exchange:
    """What a command made, or had made when it came the first time.

    `message` is None where the command only asked for another reply.
    """

    message: Message | None
    reply: Message


#: What a command has to know of its conversation, as it is under the lock.
STATE = ("title", "model", "system_prompt", "head_id", "version", "my_role")


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(_("title"), max_length=200, blank=True)
    model = models.CharField(_("model"), max_length=200, blank=True)
    system_prompt = models.TextField(_("system prompt"), blank=True)
    #: The last message of the branch that is shown, the same for all who look.
    head = models.ForeignKey("Message", models.SET_NULL, null=True, blank=True, related_name="+")
    #: The number of the newest lasting change, see `Change`.
    version = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    updated_at = models.DateTimeField(_("last activity"), default=timezone.now, db_index=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="conversations")

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")

    def __str__(self) -> str:
        return self.title or str(_("New conversation"))

    @classmethod
    def start(cls, user: User, model: str = "") -> Conversation:
        """Make an empty conversation owned by `user`."""
        with transaction.atomic():
            conversation = cls.objects.create(model=storable(model)[:200])
            Membership.objects.create(conversation=conversation, user=user, role=Role.OWNER)
        return conversation

    @classmethod
    @transaction.atomic
    def begin(cls, user: User, text: str, client_id: str, model: str = "") -> Conversation:
        """Make a conversation with its first question. The same form sent twice, by an
        impatient click or a reload, is the same conversation."""
        pk = uuid.uuid5(FIRST_QUESTIONS, f"{user.pk}|{client_id}|{text}")
        conversation, made = cls.objects.get_or_create(pk=pk, defaults={"model": storable(model)[:200]})
        if made:
            Membership.objects.create(conversation=conversation, user=user, role=Role.OWNER)
        conversation.post(user, text, client_id, model=model)
        return conversation

    # Commands

    @command
    def post(
        self,
        user: User,
        text: str,
        client_id: str,
        *,
        parent: str | None = None,
        model: str = "",
    ) -> Exchange:
        """Store a question and its queued reply after `parent` (else after the shown
        branch). The same `client_id` again gives the same two rows."""
        if asked := self._known(client_id, Message.Role.USER):
            return Exchange(asked, asked.children.earliest("pk"))
        before, status = self.head_id, self._head_status
        if parent is not None:
            message = self._message(parent)
            before, status = message.pk, message.status
        if status in RUNNING:
            raise Refused(
                "busy",
                str(_("A reply is still being written. Stop it, or wait for its end.")),
            )
        return self._ask(user, text, client_id, before, model)

    @command
    def edit(self, user: User, message: str, client_id: str, text: str) -> Exchange:
        """Store another wording beside a question, as a branch of its own, and a
        queued reply to it. Nothing is overwritten."""
        if asked := self._known(client_id, Message.Role.USER):
            return Exchange(asked, asked.children.earliest("pk"))
        old = self._message(message)
        if old.role != Message.Role.USER:
            raise Refused("invalid", str(_("Only a question can be edited.")))
        return self._ask(user, text, client_id, old.parent_id, "")

    @command
    def retry(self, user: User, reply: str, client_id: str, model: str = "") -> Exchange:
        """Queue another reply to the same question."""
        if known := self._known(client_id, Message.Role.ASSISTANT):
            return Exchange(None, known)
        old = self._ended_reply(reply)
        self._check_pace(user)
        return Exchange(None, self._queue(user, old.parent, model or old.model, client_id))

    @command
    def continue_reply(self, user: User, reply: str, client_id: str) -> Exchange:
        """Queue a reply that begins with the text of one that was cut off.

        A terminal state is reached once, so the cut-off reply stays as it is and the
        longer one stands beside it.
        """
        if known := self._known(client_id, Message.Role.ASSISTANT):
            return Exchange(None, known)
        old = self._ended_reply(reply)
        if not old.can_continue:
            raise Refused("invalid", str(_("This reply was not cut off.")))
        self._check_pace(user)
        longer = self._queue(user, old.parent, old.model, client_id)
        longer.prefix = old.text
        Piece.objects.create(reply=longer, part=Piece.Part.TEXT, start=0, text=old.text)
        return Exchange(None, longer)

    @command
    def select_branch(self, user: User, message: str) -> None:
        """Show the branch through `message`, down to its newest leaf, to all."""
        leaf = self._message(message).newest_leaf()
        if leaf.pk != self.head_id:
            self._change(head=leaf)

    @command
    def rename(self, user: User, title: str) -> None:
        """Give the conversation a title of one line."""
        title = " ".join(storable(title).split())
        if not title:
            raise Refused("invalid", str(_("A title needs at least one character.")))
        if len(title) > settings.CHAT.title_characters:
            raise Refused(
                "too_large",
                str(_("A title has at most %d characters.")) % settings.CHAT.title_characters,
            )
        if title != self.title:
            self._change(title=title)

    @command
    def remove(self, user: User) -> None:
        """Delete the conversation with all that was said in it. Owners only."""
        if self.my_role != Role.OWNER:
            raise Refused("forbidden", str(_("Only its owner can delete this.")))
        self.erase()

    @transaction.atomic
    def erase(self) -> None:
        """Delete the conversation with all that was said in it, for whoever may."""
        # The strongest lock there is: nobody becomes a member any more either. SQLite has
        # one writer at a time and needs none.
        Conversation.objects.select_for_update().filter(pk=self.pk).first()
        # The head is part of what is deleted; a database that checks at once would mind.
        Conversation.objects.filter(pk=self.pk).update(head=None)
        signals.removing.send(sender=type(self), conversation_id=self.pk)
        gone = partial(
            signals.removed.send_robust,
            sender=type(self),
            conversation_id=self.pk,
            user_ids=list(self.members.values_list("pk", flat=True)),
        )
        self.delete()
        transaction.on_commit(gone)
        transaction.on_commit(search.tend_index, robust=True)

    def reply_to_stop(self, user: User, reply: str) -> Message | None:
        """Return the reply if `user` may stop it and there is something to stop."""
        now = Conversation.objects.visible_to(user).filter(pk=self.pk).first()
        if now is None:
            raise Refused("not_found", str(_("There is no such conversation.")))
        if now.my_role == Role.READER:
            raise Refused("forbidden", str(_("You may read here, not write.")))
        found = self._message(reply)
        return found if found.is_running else None

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
            self.changes.filter(version__gt=version, version__lte=self.version)
            .select_related("message", "message__author")
            # Two hundred texts of any length, else.
            .defer("message__text", "message__reasoning")
            .annotate(**beginnings("message__"))
            .order_by("version")
        )
        return changes if len(changes) == self.version - version else None

    # The steps that commands are made of. All expect the lock.

    def _lock(self, user: User) -> None:
        """Make this the only command that changes the conversation until the commit,
        and load it as it is now, as `user` may see and change it."""
        lock(Conversation.objects.filter(pk=self.pk))
        rows = STATE_UNDER_LOCK.rows(pk=self.pk, user=user.pk) if user.is_active else []
        if not rows:
            raise Refused("not_found", str(_("There is no such conversation.")))
        *state, self._locked_at, self._head_status = rows[0]
        for name, value in zip(STATE, state, strict=True):
            setattr(self, name, value)
        if self.my_role == Role.READER:
            raise Refused("forbidden", str(_("You may read here, not write.")))
        self._changes, self._changed_fields = [], {}

    def _known(self, client_id: str, role: str) -> Message | None:
        """Return what the command with this `client_id` has made already."""
        if not 0 < len(client_id) <= 64 or client_id != storable(client_id):
            raise Refused("invalid", str(_("A client_id has between 1 and 64 characters.")))
        known = KNOWN.rows(pk=self.pk, client_id=client_id)
        if known and known[0][1] != role:
            raise Refused("invalid", str(_("This client_id belongs to something else.")))
        return Message.objects.get(pk=known[0][0]) if known else None

    def _message(self, pk: str) -> Message:
        key = key_in(pk)
        found = list(Message.objects.filter(conversation_id=self.pk, pk=key or 0).defer("text", "reasoning"))
        if not found:
            raise Refused("not_found", str(_("There is no such message.")))
        return found[0]

    def _ended_reply(self, pk: str) -> Message:
        reply = self._message(pk)
        if reply.role != Message.Role.ASSISTANT:
            raise Refused("invalid", str(_("This is not a reply.")))
        if reply.is_running:
            raise Refused("busy", str(_("This reply is still being written.")))
        return reply

    def _ask(
        self,
        user: User,
        text: str,
        client_id: str,
        parent: int | None,
        model: str,
    ) -> Exchange:
        if not text.strip():
            raise Refused("invalid", str(_("An empty message cannot be sent.")))
        if len(text) > settings.CHAT.message_characters:
            raise Refused(
                "too_large",
                str(_("A message has at most %d characters.")) % settings.CHAT.message_characters,
            )
        self._check_pace(user)
        text = storable(text)
        asked = Message(
            conversation=self,
            parent_id=parent,
            role=Message.Role.USER,
            author=user,
            text=text,
            status=Status.DONE,
            client_id=client_id,
            created_at=self._locked_at,
        )
        insert(asked)
        search.index(asked.pk, text)
        self._record(Change.Kind.MESSAGE_CREATED, asked)
        if model and model != self.model:
            self._change(model=storable(model)[:200])
        reply = self._queue(user, asked, model or self.model)
        if not self.title:
            self._change(title=first_line(text, TITLE_FROM_TEXT))
        return Exchange(asked, reply)

    def _queue(self, user: User, parent: Message | None, model: str, client_id: str | None = None) -> Message:
        reply = Message(
            conversation=self,
            parent=parent,
            asked_by=user,
            role=Message.Role.ASSISTANT,
            status=Status.QUEUED,
            model=storable(model)[:200],
            client_id=client_id,
            created_at=self._locked_at,
        )
        insert(reply)
        self._record(Change.Kind.MESSAGE_CREATED, reply)
        signals.queueing.send(sender=Message, reply=reply)
        transaction.on_commit(partial(signals.reply_queued.send_robust, sender=Message, reply=reply))
        return reply

    def _check_pace(self, user: User) -> None:
        """Hold one user to the site's interval between questions and to a number of
        replies that run at once."""
        # One user may ask in two conversations at once, and their locks are two: the second waits for the first.
        lock(get_user_model()._default_manager.filter(pk=user.pk))
        if len(RUNNING_OF.rows(user=user.pk)) >= settings.CHAT.running_per_user:
            raise Refused(
                "busy",
                str(_("%d of your replies are being written. Wait for one to end.")) % settings.CHAT.running_per_user,
            )
        interval = timedelta(seconds=settings.CHAT.interval_seconds)
        if not interval:
            return
        recent = Message.objects.filter(asked_by=user, created_at__gt=self._locked_at - interval)
        last = recent.order_by("-created_at").values_list("created_at", flat=True).first()
        left = (last + interval - self._locked_at) if last else timedelta(0)
        if left > timedelta(0):
            raise Refused(
                "too_fast",
                str(_("Wait a moment between two questions.")),
                retry_after=round(left.total_seconds(), 1),
            )

    def _change(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self._changed_fields |= fields
        data = {name: str(value.pk) if isinstance(value, Message) else value for name, value in fields.items()}
        self._record(Change.Kind.CONVERSATION_CHANGED, data=data)

    def _record(self, kind: str, message: Message | None = None, data: Any = None) -> None:
        """Give one lasting change its number. It is written with the others, at the end of the command."""
        self.version += 1
        if kind == Change.Kind.MESSAGE_CREATED and message is not None:
            self.head = message
            self._changed_fields["head"] = message
            data = {"head": str(message.pk)}
        change = Change(conversation_id=self.pk, version=self.version, kind=kind, message=message, data=data)
        self._changes.append(change)

    def _write_changes(self) -> None:
        if self._changes:
            fields = {"version": self.version, "updated_at": self._locked_at, **self._changed_fields}
            Conversation.objects.filter(pk=self.pk).update(**fields)
            TOUCH_MEMBERS.run(pk=self.pk, at=self._locked_at)
            for change in self._changes:
                insert(change)
            tell_of(self._changes)

    #: What the command that runs has changed so far, and what of the row.
    _changes: list[Change]
    _changed_fields: dict[str, Any]
    #: Set by `visible_to` and by the lock: what the person who asked may do here.
    my_role: str = ""
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
) -> int:
    """Record one lasting change of a conversation, which may give it another head,
    and return the version it was given. Must run inside a transaction: the UPDATE holds
    the row until the commit, which is what keeps the versions without gaps.

    Who gives the whole `message`, as it is from now on, spares those who tell of it the reading.
    """
    if head_id is not None:
        Conversation.objects.filter(pk=conversation_id).update(head_id=head_id)
    NEXT_VERSION.run(pk=conversation_id)
    if not (newest := NEWEST.rows(pk=conversation_id)):
        raise Conversation.DoesNotExist(str(conversation_id))
    [(version, updated_at)] = newest
    TOUCH_MEMBERS.run(pk=conversation_id, at=updated_at)
    change = Change(
        conversation_id=conversation_id,
        version=version,
        kind=kind,
        data=data,
        **({"message_id": message_id} if message is None else {"message": message}),
    )
    insert(change)
    tell_of([change])
    return change.version


# What every question asks of the database

STATE_UNDER_LOCK = Select(
    lambda: (
        Conversation.objects.of_member(parameter(Membership, "user"))
        .filter(pk=parameter(Conversation, "id", "pk"))
        .annotate(database_time=Now())
        .values_list(*STATE, "database_time", "head__status")
    )
)
KNOWN = Select(
    lambda: Message.objects.filter(
        conversation=parameter(Message, "conversation", "pk"), client_id=parameter(Message, "client_id")
    ).values_list("pk", "role")
)
RUNNING_OF = Select(
    lambda: Message.objects.running().filter(asked_by=parameter(Message, "asked_by", "user")).values_list("pk")
)
NEWEST = Select(
    lambda: Conversation.objects.filter(pk=parameter(Conversation, "id", "pk")).values_list("version", "updated_at")
)
NEXT_VERSION = Update(
    lambda: Conversation.objects.filter(pk=parameter(Conversation, "id", "pk")),
    version=F("version") + 1,
    updated_at=Now(),
)
