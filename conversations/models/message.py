"""What was said: a tree of messages, and which of them are still growing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..status import BROKEN, RUNNING, Status
from ..text import first_line
from .texts import beginnings

#: A title made from the first question stays on one line of the sidebar.
TITLE_FROM_TEXT = 60


class IsRunning(models.Func):
    """Is a reply with this status being written? As words of the statement: SQLite does not know by a parameter that the
    index of running replies has all that is asked for, and reads the whole history."""

    template = f"%(expressions)s IN {tuple(status.value for status in RUNNING)}"
    output_field = models.BooleanField()


class HasBroken(IsRunning):
    """Was a reply with this status cut off, or did it never come?"""

    template = f"%(expressions)s IN {tuple(status.value for status in BROKEN)}"


class MessageQuerySet(models.QuerySet["Message"]):
    def running(self) -> Self:
        return self.filter(IsRunning("status"))

    def with_status(self, status: str) -> Self:
        """Those with this status, found without looking at all the others."""
        if status in BROKEN:
            return self.filter(HasBroken("status"), status=status)
        return (self.running() if status in RUNNING else self).filter(status=status)

    def with_beginnings(self) -> Self:
        """Leave the texts where they are, but for their beginnings."""
        return self.defer("text", "reasoning").annotate(**beginnings())

    def path_to(
        self,
        leaf_id: Any,
        limit: int,
        characters: Any = None,
        parts: Sequence[str] = ("text", "reasoning"),
    ) -> Self:
        """The last `limit` messages on the way from the root to `leaf_id`, oldest
        first, in one query whose cost does not grow with the conversation. With
        `characters`, none ahead of that by which there are as many in these parts."""
        if leaf_id is None:
            return self.none()
        table = Message._meta.db_table
        size = "0" if characters is None else " + ".join(f"LENGTH(m.{part})" for part in parts)
        path = RawSQL(  # noqa: S611 - the names are ours, the values are passed apart
            f"""
            WITH RECURSIVE path(id, parent_id, steps, size) AS (
                SELECT id, parent_id, 1, {size} FROM {table} m WHERE id = %s
                UNION ALL
                SELECT m.id, m.parent_id, path.steps + 1, path.size + {size}
                FROM {table} m JOIN path ON m.id = path.parent_id
                WHERE path.steps < %s AND path.size < %s
            )
            SELECT id FROM path
            """,  # noqa: S608 - the names are ours
            (leaf_id, limit, 1 if characters is None else characters),
        )
        # A message is made after its parent, so the order of keys is that of the path.
        return self.filter(pk__in=path).order_by("pk")


class Message(models.Model):
    class Role(models.TextChoices):
        USER = "user", _("user")
        ASSISTANT = "assistant", _("assistant")
        SYSTEM = "system", _("system")

    conversation = models.ForeignKey("Conversation", models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    role = models.CharField(_("role"), max_length=10, choices=Role)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    #: Of a reply: who wanted it, which need not be who wrote the question.
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    #: Of a reply: empty until it has ended; what it is while it grows, its pieces tell.
    text = models.TextField(_("text"), blank=True)
    reasoning = models.TextField(_("reasoning"), blank=True)
    status = models.CharField(_("status"), max_length=12, choices=[(s.value, s.value) for s in Status])
    model = models.CharField(_("model"), max_length=200, blank=True)
    #: Who answered: the name of a provider, kept as it was then.
    provider = models.CharField(_("provider"), max_length=200, blank=True)
    finish_reason = models.CharField(max_length=50, blank=True)
    #: `{"code", "detail", "retryable"}` of a reply that failed or broke off.
    error = models.JSONField(null=True, blank=True)
    #: `{"prompt_tokens", "completion_tokens", "cost", "estimated", "attempts"}`, and how long it took, in milliseconds:
    #: `first_token_ms`, `thought_ms`, `duration_ms`, as far as they are known.
    usage = models.JSONField(null=True, blank=True)
    #: Made by the tab that asked, so that asking twice is asking once.
    client_id = models.CharField(  # noqa: DJ001 - many have none, and only NULLs may be many
        max_length=64, null=True, blank=True, editable=False
    )
    #: Of a reply: the oldest message the model was shown, where that was not all.
    sight = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    #: Of a reply that was queued a moment ago: the text it begins with.
    prefix: str = ""

    objects = MessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints = [models.UniqueConstraint(fields=["conversation", "client_id"], name="one_message_a_client_id")]
        indexes = [
            # Running replies are few whatever the history: the sweep and the limits
            # look only at them.
            models.Index(
                fields=["conversation"],
                name="running_replies",
                condition=Q(status__in=[s.value for s in RUNNING]),
            ),
            models.Index(
                fields=["asked_by"],
                name="running_replies_of_a_person",
                condition=Q(status__in=[s.value for s in RUNNING]),
            ),
            models.Index(
                fields=["status", "created_at"],
                name="broken_replies",
                condition=Q(status__in=[s.value for s in BROKEN]),
            ),
            # The first wordings of a conversation's first question are found without looking at all that was said.
            models.Index(fields=["conversation"], name="first_messages", condition=Q(parent=None)),
        ]

    def __str__(self) -> str:
        return first_line(self.text, TITLE_FROM_TEXT) or f"({self.status})"

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    @property
    def can_continue(self) -> bool:
        """Was this reply cut off in the middle of something?"""
        return bool(self.text) and (
            self.status in (Status.STOPPED, Status.INTERRUPTED, Status.FAILED) or self.finish_reason == "length"
        )

    def newest_leaf(self) -> Message:
        """Return the end of the branch below this message that was begun last."""
        table = Message._meta.db_table
        newest = RawSQL(  # noqa: S611 - as above
            f"""
            WITH RECURSIVE down(id) AS (
                SELECT id FROM {table} WHERE id = %s
                UNION ALL
                SELECT (SELECT MAX(m.id) FROM {table} m WHERE m.parent_id = down.id)
                FROM down WHERE down.id IS NOT NULL
            )
            SELECT MAX(id) FROM down
            """,  # noqa: S608 - the table's name is ours
            (self.pk,),
        )
        return Message.objects.get(pk=newest)

    def branches(self) -> MessageQuerySet:
        """This message and all that follows it, on all of its branches."""
        table = Message._meta.db_table
        found = RawSQL(  # noqa: S611 - as above
            f"""
            WITH RECURSIVE down(id) AS (
                SELECT id FROM {table} WHERE id = %s
                UNION ALL
                SELECT m.id FROM {table} m JOIN down ON m.parent_id = down.id
            )
            SELECT id FROM down
            """,  # noqa: S608 - the table's name is ours
            (self.pk,),
        )
        return Message.objects.filter(pk__in=found)

    def nearest(self) -> Message | None:
        """What is shown in the place of this message when it goes: the end of the version before it, or after it where it is
        the first, or what it followed."""
        same = {"parent": self.parent_id} if self.parent_id else {"parent": None, "conversation": self.conversation_id}
        versions = Message.objects.filter(**same)
        before = versions.filter(pk__lt=self.pk).order_by("-pk").first()
        beside = before or versions.filter(pk__gt=self.pk).order_by("pk").first()
        return beside.newest_leaf() if beside else self.parent

    def is_above(self, leaf_id: int | None) -> bool:
        """Is this message on the way from the root to a leaf, or the leaf itself? What is made later has the larger key, so
        nothing older than this message is looked at."""
        if leaf_id is None:
            return False
        table = Message._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                WITH RECURSIVE path(id, parent_id) AS (
                    SELECT id, parent_id FROM {table} WHERE id = %s
                    UNION ALL
                    SELECT m.id, m.parent_id FROM {table} m JOIN path ON m.id = path.parent_id WHERE path.id > %s
                )
                SELECT 1 FROM path WHERE id = %s
                """,  # noqa: S608 - as above
                [leaf_id, self.pk, self.pk],
            )
            return cursor.fetchone() is not None
