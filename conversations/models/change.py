"""What a tab needs in order to follow a conversation."""

from __future__ import annotations

from functools import partial

from django.db import models, transaction
from django.utils import timezone

from .. import signals


class Change(models.Model):
    """One lasting change of a conversation, under its version.

    What a tab needs in order to go from any older version to the newest; it names the
    rows and does not repeat them.
    """

    class Kind(models.TextChoices):
        MESSAGE_CREATED = "message_created"
        MESSAGE_CHANGED = "message_changed"
        REPLY_ENDED = "reply_ended"
        CONVERSATION_CHANGED = "conversation_changed"

    conversation = models.ForeignKey("Conversation", models.CASCADE, related_name="changes")
    version = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=24, choices=Kind)
    message = models.ForeignKey("Message", models.CASCADE, null=True, related_name="+")
    data = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["conversation", "version"], name="one_change_a_version")]

    def __str__(self) -> str:
        return f"{self.version}: {self.kind}"


def tell_of(changes: list[Change]) -> None:
    """Send the signal about changes of one conversation once they are committed."""
    said = partial(
        signals.changed.send_robust,
        sender=Change,
        conversation_id=changes[0].conversation_id,
        version=changes[-1].version,
        changes=changes,
    )
    transaction.on_commit(said)
