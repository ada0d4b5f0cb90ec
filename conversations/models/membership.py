"""Who takes part in a conversation, and as what."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..prepared import Update, parameter


class Role(models.TextChoices):
    OWNER = "owner", _("owner")
    WRITER = "writer", _("writer")
    READER = "reader", _("reader")


class Shelf(models.TextChoices):
    """Where somebody keeps a conversation in her own list."""

    LISTED = "listed", _("listed")
    PINNED = "pinned", _("pinned")
    ARCHIVED = "archived", _("archived")


class Membership(models.Model):
    conversation = models.ForeignKey("Conversation", models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.READER)
    shelf = models.CharField(
        _("place in the list"), max_length=10, choices=Shelf, default=Shelf.LISTED, db_default=Shelf.LISTED
    )
    #: The folder in which this person keeps it, if in any: NULL, which a partial index leaves out and SQLite understands.
    folder = models.CharField(max_length=40, null=True, blank=True, editable=False)  # noqa: DJ001
    #: The newest version this person has had on a screen; newer ones are unread.
    seen_version = models.PositiveBigIntegerField(default=0, editable=False)
    joined_at = models.DateTimeField(_("joined"), default=timezone.now)
    #: That of the conversation, kept here too: the newest ones of a person are found without looking at all of hers.
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [models.UniqueConstraint(fields=["user", "conversation"], name="one_membership_a_person")]
        indexes = [
            models.Index(fields=["user", "-updated_at", "-conversation"], name="newest_of_a_person"),
            models.Index(fields=["user", "shelf", "-updated_at", "-conversation"], name="newest_on_a_shelf"),
            models.Index(
                fields=["user", "folder", "shelf", "-updated_at", "-conversation"],
                name="newest_in_a_folder",
                condition=models.Q(folder__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.updated_at = self.conversation.updated_at
        super().save(*args, **kwargs)


#: With every message: the newest conversations of a person are found by it.
TOUCH_MEMBERS = Update(
    lambda: Membership.objects.filter(conversation=parameter(Membership, "conversation", "pk")),
    updated_at=parameter(Membership, "updated_at", "at"),
)
#: Who writes in a conversation that she has put away wants it back in her list.
TAKE_FROM_ARCHIVE = Update(
    lambda: Membership.objects.filter(
        conversation=parameter(Membership, "conversation", "pk"),
        user=parameter(Membership, "user"),
        shelf=Shelf.ARCHIVED,
    ),
    shelf=Shelf.LISTED,
)
