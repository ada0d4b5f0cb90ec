"""Texts that people use again and again: each has her own, and may share some with everybody."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class PromptQuerySet(models.QuerySet["Prompt"]):
    def visible_to(self, user: User | AnonymousUser) -> Self:
        """Those of `user`, and what others share. As with conversations, what is missing and what is not shared look the
        same."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(Q(owner=user) | Q(shared=True))

    def of(self, user: User | AnonymousUser) -> Self:
        """Those that `user` may change."""
        return self.visible_to(user).filter(owner_id=user.pk)


def bounded(text: str) -> None:
    """Raise ValidationError for a text that is longer than the site allows."""
    if len(text) > settings.CHAT.prompt_characters:
        raise ValidationError(
            _("A prompt has at most %(most)d characters."), params={"most": settings.CHAT.prompt_characters}
        )


class Prompt(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="prompts", verbose_name=_("owner"))
    name = models.CharField(_("name"), max_length=60)
    text = models.TextField(_("text"), validators=[bounded])
    shared = models.BooleanField(_("shared with everybody"), default=False)
    updated_at = models.DateTimeField(_("changed"), default=timezone.now)

    objects = PromptQuerySet.as_manager()

    class Meta:
        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                name="one_prompt_a_name",
                violation_error_message=_("There is a prompt with this name already."),
            )
        ]
        indexes = [models.Index(fields=["name"], name="shared_prompts", condition=Q(shared=True))]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.updated_at = timezone.now()
        super().save(*args, **kwargs)
