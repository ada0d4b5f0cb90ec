"""What an account keeps besides its name and its password."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ChosenLanguage(models.Model):
    """The language in which somebody reads the pages, on whatever device. Who has chosen none is asked by the browser's list."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="chosen_language"
    )
    code = models.CharField(max_length=10)

    def __str__(self) -> str:
        return self.code
