"""A conversation, who may see it, and what may be done to it.

Every rule has one home here: `visible_to` decides who can load a conversation, and the commands of the protocol are methods
that write all their rows in one transaction. How a command holds the row and numbers its changes stands in `versioned`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import parameters, search, signals
from ..locks import Lock
from ..prepared import Select, insert, parameter
from ..refusals import Refused
from ..status import RUNNING, Status
from ..text import first_line, key_in, storable
from .change import Change
from .feedback import Feedback, Verdict
from .membership import TAKE_FROM_ARCHIVE, Membership, Role, Shelf
from .message import TITLE_FROM_TEXT, Message
from .texts import Piece
from .versioned import CONVERSATION_LOCK, Versioned, command, record_change

Viewer = User | AnonymousUser

#: Names the ids of conversations that began with a question.
FIRST_QUESTIONS = uuid.UUID("b0d9e1f4-6f5c-4f43-9a0e-6a0d3ad6a7c1")


#: What a membership says of the conversation, and of it alone to its person.
MINE = {"my_role": F("membership__role"), "my_shelf": F("membership__shelf"), "my_folder": F("membership__folder")}


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: Viewer) -> Self:
        """The conversations that `user` is a member of. The only way to load one for
        a person: what is missing and what is somebody else's look the same."""
        if not user.is_authenticated or not user.is_active:
            return self.none().annotate(**MINE)
        return self.of_member(user.pk)

    def of_member(self, user_id: Any) -> Self:
        """Those of somebody who may look, as `visible_to` finds out."""
        return self.filter(membership__user_id=user_id, deleted_at=None).annotate(**MINE)

    def restorable_by(self, user: Viewer) -> Self:
        """Those that `user` has deleted, and may still have back."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        mine = self.filter(membership__user_id=user.pk, membership__role=Role.OWNER)
        return mine.filter(deleted_at__gt=Now() - undo_time())

    def due(self) -> Self:
        """Those that were deleted and nobody can have back any more."""
        return self.filter(deleted_at__lte=Now() - undo_time())

    def on_shelf(self, shelf: Shelf) -> Self:
        """Those that somebody keeps there, newest first, for what is visible to her. Read from an index, however many
        there are. What is temporary is not kept anywhere."""
        return self.filter(my_shelf=shelf, looked_at=None).newest_first()

    def temporary(self) -> Self:
        """Those that are not kept: few, whatever the history."""
        return self.filter(looked_at__isnull=False)

    def in_folder(self, name: str) -> Self:
        """Those that somebody keeps in this folder, for what is visible to her."""
        return self.filter(my_folder=name)

    def newest_first(self) -> Self:
        """In the order of the sidebar, for what is visible to somebody."""
        return self.order_by("-membership__updated_at", "-membership__conversation_id")

    def with_running(self) -> Self:
        """Annotate `running`: somebody is being answered here."""
        replies = Message.objects.running().filter(conversation=models.OuterRef("pk"))
        return self.annotate(running=models.Exists(replies))


def undo_time() -> timedelta:
    return timedelta(seconds=settings.CHAT.undo_seconds)


@dataclass(frozen=True)
class Exchange:
    """What a command made, or had made when it came the first time.

    `message` is None where the command only asked for another reply.
    """

    message: Message | None
    reply: Message


class TitleFrom(models.TextChoices):
    """Where a title comes from. Of conversations that are older than this it is not known, and they keep theirs."""

    TEXT = "text"  # the first line of the first question
    ASKED = "asked"  # the same, and a model is asked for a better one, or was and had none
    MODEL = "model"
    PERSON = "person"


class Conversation(Versioned):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(_("title"), max_length=200, blank=True)
    title_from = models.CharField(
        max_length=6, choices=TitleFrom, blank=True, default="", db_default="", editable=False
    )
    model = models.CharField(_("model"), max_length=200, blank=True)
    system_prompt = models.TextField(_("system prompt"), blank=True)
    #: `{"temperature": 0.2}`: what is not the server's own, see `parameters`.
    parameters = models.JSONField(_("parameters"), null=True, blank=True)
    #: Of a temporary one: when somebody had it open last, see `temporary`. Of those that are kept: nothing.
    looked_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    #: When its owner deleted it. From then on nobody sees it, until she takes that back or it is erased.
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="conversations")

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        indexes = [
            models.Index(fields=["deleted_at"], name="deleted", condition=Q(deleted_at__isnull=False)),
            models.Index(fields=["looked_at"], name="temporary_conversations", condition=Q(looked_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title or str(_("New conversation"))

    @property
    def is_temporary(self) -> bool:
        return self.looked_at is not None

    @classmethod
    def start(cls, user: User, model: str = "", **how: Any) -> Conversation:
        """Make an empty conversation owned by `user`; `how` its model is asked has been checked."""
        with transaction.atomic():
            conversation = cls.objects.create(model=storable(model)[:200], **how)
            Membership.objects.create(conversation=conversation, user=user, role=Role.OWNER)
        return conversation

    @classmethod
    @transaction.atomic
    def begin(cls, user: User, text: str, client_id: str, model: str = "", **how: Any) -> Conversation:
        """Make a conversation with its first question. The same form sent twice, by an
        impatient click or a reload, is the same conversation."""
        pk = uuid.uuid5(FIRST_QUESTIONS, f"{user.pk}|{client_id}|{text}")
        conversation, made = cls.objects.get_or_create(pk=pk, defaults={"model": storable(model)[:200], **how})
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
    def delete_branch(self, user: User, message: str) -> None:
        """Delete a message and all that follows it on all of its branches, for everybody and for good. Who does not own the
        conversation deletes only what answers her own questions."""
        first = self._message(message)
        asked = first.branches() | Message.objects.filter(pk=first.parent_id or 0)
        others = asked.filter(role=Message.Role.USER).exclude(author=user)
        if self.my_role != Role.OWNER and others.exists():
            raise Refused("forbidden", str(_("Only the owner can delete what others have asked.")))
        if first.branches().running().exists():
            raise Refused("busy", str(_("A reply is still being written there. Stop it, or wait for its end.")))
        data: dict[str, str | None] = {"removed": str(first.pk)}
        if first.is_above(self.head_id):
            self.head = first.nearest()
            self._changed_fields["head"] = self.head_id
            data["head"] = None if self.head_id is None else str(self.head_id)
        Conversation.objects.filter(pk=self.pk).update(head=self.head_id)
        first.branches().only("pk").delete()
        self._record(Change.Kind.CONVERSATION_CHANGED, data=data)
        transaction.on_commit(search.tend_index, robust=True)

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
            self._changed_fields["title_from"] = TitleFrom.PERSON.value

    @classmethod
    def ask_for_title(cls, pk: uuid.UUID) -> str | None:
        """Take it on, once and for all, to find a better title; return the one that was made. None where somebody has done
        so, or has named the conversation."""
        if not cls.objects.filter(pk=pk, deleted_at=None, title_from=TitleFrom.TEXT).update(title_from=TitleFrom.ASKED):
            return None
        return cls.objects.filter(pk=pk).values_list("title", flat=True).first()

    @classmethod
    @transaction.atomic
    def take_title(cls, pk: uuid.UUID, title: str, made: str) -> None:
        """Give a conversation the title that a model has found, if nobody has named it meanwhile."""
        CONVERSATION_LOCK.take(pk=pk)
        same = cls.objects.filter(pk=pk, deleted_at=None, title_from=TitleFrom.ASKED, title=made)
        title = storable(title)[: settings.CHAT.title_characters]
        if title == made or not same.update(title=title, title_from=TitleFrom.MODEL):
            return
        version = record_change(pk, Change.Kind.CONVERSATION_CHANGED, data={"title": title})
        # Who has seen all of it has nothing new to read.
        Membership.objects.filter(conversation_id=pk, seen_version=version - 1).update(seen_version=version)

    @command
    def change_settings(self, user: User, prompt: str | None, wanted: Mapping[str, Any]) -> None:
        """Say how the model is asked here. What is not named stays as it is, what is empty becomes the server's own."""
        system_prompt = self.system_prompt if prompt is None else parameters.checked_prompt(prompt)
        new = {"system_prompt": system_prompt, "parameters": parameters.changed(self.parameters, wanted)}
        old = {"system_prompt": self.system_prompt, "parameters": self.parameters or {}}
        if changed := {name: value for name, value in new.items() if value != old[name]}:
            self._change(**changed)

    @command
    def keep(self, user: User) -> None:
        """Keep a temporary conversation after all: from now on it is listed, and found."""
        if not self.is_temporary:
            return
        self.looked_at = self._changed_fields["looked_at"] = None
        self._record(Change.Kind.CONVERSATION_CHANGED, data={"temporary": False})
        for pk, text in self.messages.exclude(text="").order_by("pk").values_list("pk", "text"):
            search.index(pk, text)

    def put_on(self, user: User, shelf: Shelf) -> None:
        """Keep the conversation in that place of the list of `user`, and of nobody else."""
        mine = Membership.objects.filter(conversation_id=self.pk, user=user).exclude(shelf=shelf)
        with transaction.atomic():
            if mine.update(shelf=shelf):
                transaction.on_commit(partial(signals.shelved.send_robust, sender=type(self), conversation_id=self.pk))

    def judge(self, user: User, reply: Message, value: Verdict | None) -> None:
        """Keep what `user` thinks of a reply, or nothing any more. No business of anybody else, so no change of the
        conversation; readers may do it, too."""
        with transaction.atomic():
            if value is None:
                Feedback.objects.filter(message=reply, user=user).delete()
            else:
                now = {"value": value, "created_at": timezone.now()}
                Feedback.objects.update_or_create(message=reply, user=user, defaults=now)
            facts = {"conversation_id": self.pk, "message_id": reply.pk, "user_id": user.pk, "value": value}
            transaction.on_commit(partial(signals.judged.send_robust, sender=type(self), **facts))

    @command
    def remove(self, user: User) -> None:
        """Delete the conversation with all that was said in it: for everybody, and at once. Until it is erased its owner
        may take that back, unless it was not to be kept anyway."""
        if self.my_role != Role.OWNER:
            raise Refused("forbidden", str(_("Only its owner can delete this.")))
        if settings.CHAT.undo_seconds and not self.is_temporary:
            Conversation.objects.filter(pk=self.pk).update(deleted_at=self._locked_at)
            signals.deleting.send(sender=type(self), conversation_id=self.pk)
            self._tell_that_it_is_gone()
        else:
            self.erase()

    @classmethod
    def restore(cls, user: User, pk: uuid.UUID) -> bool:
        """Give `user` back what she has deleted. False where there is nothing of hers to be given back (any more)."""
        with transaction.atomic():
            mine = cls.objects.restorable_by(user).filter(pk=pk).values("pk")
            restored = cls.objects.filter(pk__in=mine, deleted_at__isnull=False).update(deleted_at=None)
            if restored:
                transaction.on_commit(partial(signals.shelved.send_robust, sender=cls, conversation_id=pk))
        return bool(restored)

    @classmethod
    def erase_due(cls) -> bool:
        """Erase one of those that were deleted and cannot be had back any more. False where there is none."""
        found = cls.objects.due().order_by("deleted_at").first()
        if found is None:
            return False
        with transaction.atomic():
            # Another process may be at it, or was a moment ago.
            if cls.objects.select_for_update().filter(pk=found.pk, deleted_at__isnull=False).first():
                found.erase()
        return True

    @transaction.atomic
    def erase(self) -> None:
        """Delete the conversation with all that was said in it, for whoever may."""
        # The strongest lock there is: nobody becomes a member any more either. SQLite has
        # one writer at a time and needs none.
        Conversation.objects.select_for_update().filter(pk=self.pk).first()
        # The head is part of what is deleted; a database that checks at once would mind.
        Conversation.objects.filter(pk=self.pk).update(head=None)
        signals.removing.send(sender=type(self), conversation_id=self.pk)
        self._tell_that_it_is_gone()
        self.delete()
        transaction.on_commit(search.tend_index, robust=True)

    def _tell_that_it_is_gone(self) -> None:
        gone = partial(
            signals.removed.send_robust,
            sender=type(self),
            conversation_id=self.pk,
            user_ids=list(self.members.values_list("pk", flat=True)),
        )
        transaction.on_commit(gone)

    def reply_to_stop(self, user: User, reply: str) -> Message | None:
        """Return the reply if `user` may stop it and there is something to stop."""
        now = Conversation.objects.visible_to(user).filter(pk=self.pk).first()
        if now is None:
            raise Refused("not_found", str(_("There is no such conversation.")))
        if now.my_role == Role.READER:
            raise Refused("forbidden", str(_("You may read here, not write.")))
        found = self._message(reply)
        return found if found.is_running else None

    # The steps that commands are made of. All expect the lock.

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
        if not self.is_temporary:
            search.index(asked.pk, text)
        if self.my_shelf == Shelf.ARCHIVED:
            TAKE_FROM_ARCHIVE.run(pk=self.pk, user=user.pk)
        self._record(Change.Kind.MESSAGE_CREATED, asked)
        if model and model != self.model:
            self._change(model=storable(model)[:200])
        reply = self._queue(user, asked, model or self.model)
        if not self.title:
            self._change(title=first_line(text, TITLE_FROM_TEXT))
            self.title_from = self._changed_fields["title_from"] = TitleFrom.TEXT.value
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
        ASKER_LOCK.take(pk=user.pk)
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


# What every question asks of the database

ASKER_LOCK = Lock(lambda: User.objects.filter(pk=parameter(User, "id", "pk")))
KNOWN = Select(
    lambda: Message.objects.filter(
        conversation=parameter(Message, "conversation", "pk"), client_id=parameter(Message, "client_id")
    ).values_list("pk", "role")
)
RUNNING_OF = Select(
    lambda: Message.objects.running().filter(asked_by=parameter(Message, "asked_by", "user")).values_list("pk")
)
