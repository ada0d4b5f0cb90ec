"""What people think of replies: each her own word about each."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Verdict(models.TextChoices):
    UP = "up", _("good")
    DOWN = "down", _("poor")


class Feedback(models.Model):
    message = models.ForeignKey("Message", models.CASCADE, related_name="feedback", verbose_name=_("message"))
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("person"))
    value = models.CharField(_("feedback"), max_length=4, choices=Verdict)
    created_at = models.DateTimeField(_("time"), default=timezone.now)

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        constraints = [models.UniqueConstraint(fields=["message", "user"], name="one_feedback_a_person")]
        # The history is narrowed to the replies that somebody found poor.
        indexes = [models.Index(fields=["value", "message"], name="feedback_by_value")]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_value_display()}"


def feedback_of(user: User, messages: list[Any]) -> dict[int, str]:
    """Return what `user` thinks of these messages, where she has said so."""
    return dict(Feedback.objects.filter(user=user, message__in=messages).values_list("message_id", "value"))
