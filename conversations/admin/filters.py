"""What the lists can be narrowed to, and what their search asks for."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, Feedback, Message, Verdict
from ..search import terms_of
from ..text import storable
from .words import STATUS_WORDS

#: A filter offers the models that the newest rows name: to ask all rows of a long history would take seconds.
ROWS_FOR_CHOICES = 200
#: Of a search: its words, and for each of them the people of that name.
WORDS_SEARCHED, PEOPLE_SEARCHED = 10, 100


def searched(search_term: str) -> list[str]:
    """Return the words of a search. What is nothing but punctuation stands for itself alone, and is found nowhere."""
    words = search_term.split()
    return ([word for word in words if terms_of(word)] or words)[:WORDS_SEARCHED]


def named(word: str) -> list[int]:
    """Return the people whose names have a word in them."""
    found = User.objects.filter(username__icontains=storable(word)).order_by("pk")
    return list(found.values_list("pk", flat=True)[:PEOPLE_SEARCHED])


class RecentValues(admin.SimpleListFilter):
    """Choices for a field of many values: those of the newest rows."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        rows = model_admin.model._default_manager
        newest = rows.order_by(*(model_admin.ordering or ())).values("pk")[:ROWS_FOR_CHOICES]
        values = set(rows.filter(pk__in=newest).order_by().values_list(self.field, flat=True).distinct()) - {""}
        if chosen := self.value():
            values.add(chosen)
        return [(value, value) for value in sorted(values)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


class ModelFilter(RecentValues):
    title = _("model")
    parameter_name = field = "model"


class ProviderFilter(RecentValues):
    title = _("provider")
    parameter_name = field = "provider"


class StatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(status.value, word) for status, word in STATUS_WORDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.with_status(self.value()) if self.value() else queryset  # type: ignore[attr-defined]


class FeedbackFilter(admin.SimpleListFilter):
    title = _("feedback")
    parameter_name = "feedback"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return list(Verdict.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # From what was said about replies, which is little, to these.
        given = Feedback.objects.filter(value=self.value()).values("message")
        return queryset.filter(pk__in=given) if self.value() else queryset


class RunningFilter(admin.SimpleListFilter):
    title = _("replies")
    parameter_name = "running"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("1", _("being written now"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # From the few replies that run to their conversations, not from all of these to their replies.
        running = Message.objects.running().values("conversation")
        return queryset.filter(pk__in=running) if self.value() else queryset


class TemporaryFilter(admin.SimpleListFilter):
    title = _("kept")
    parameter_name = "temporary"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("1", _("temporary"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(looked_at__isnull=False) if self.value() else queryset


class Picked(admin.SimpleListFilter):
    """A filter that a link has set: it is shown so that it can be taken off, and else offers nothing."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        value = self.value()
        return [(value, self.name_of(value))] if value else []

    def name_of(self, value: str) -> str:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        try:
            return queryset.filter(**{self.field: self.key_of(value)})
        except (ValueError, ValidationError):
            return queryset.none()

    def key_of(self, value: str) -> Any:
        """Return the key that an address names. Raises ValueError or ValidationError."""
        return value


class ConversationPicked(Picked):
    title = _("conversation")
    parameter_name = "conversation"
    field = "conversation_id"

    def name_of(self, value: str) -> str:
        try:
            return str(Conversation.objects.get(pk=value))
        except (ValidationError, Conversation.DoesNotExist):
            return value


class MemberPicked(Picked):
    title = _("member")
    parameter_name = "member"
    field = "membership__user"

    def key_of(self, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise ValueError(value)
        return int(value)

    def name_of(self, value: str) -> str:
        try:
            return User.objects.get(pk=self.key_of(value)).get_username()
        except (ValueError, User.DoesNotExist):
            return value
