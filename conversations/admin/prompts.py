"""The library of prompts, for whoever keeps what is shared in order."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ..models import Prompt
from .history import ModelAdmin


@admin.register(Prompt)
class PromptAdmin(ModelAdmin[Prompt]):
    list_display = ("name", "owner", "shared", "updated_at")
    list_filter = ("shared",)
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username")
    fields = ("name", "text", "shared", "owner")
    raw_id_fields = ("owner",)
    ordering = ("name", "pk")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Who makes one owns it, unless she names somebody else."""
        return {"owner": request.user.pk, "shared": True}
