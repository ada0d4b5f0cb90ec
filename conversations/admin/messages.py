"""Messages, over all conversations."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR
from django.db.models import Prefetch, Q, QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.utils.formats import date_format, localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, Feedback, Message, Verdict, grown_texts
from ..search import matching, newest, parse_each, said
from ..text import first_line
from ..wire import siblings_of
from .filters import (
    ConversationPicked,
    FeedbackFilter,
    ModelFilter,
    ProviderFilter,
    StatusFilter,
    named,
    searched,
)
from .history import FOUND_COUNTED, History
from .words import EMPTY, conversation_url, link, message_url, status_badge, tokens, user_link

EXCERPT_CHARACTERS = 90


@admin.register(Message)
class MessageAdmin(History[Message]):
    list_display = ("time", "excerpt", "said_by", "state", "token_count", "feedback", "in_conversation")
    list_display_links = ("time", "excerpt")
    list_filter = (StatusFilter, "role", FeedbackFilter, ModelFilter, ProviderFilter, "created_at", ConversationPicked)
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    # What an index has in order.
    sortable_by = ("time",)
    search_fields = ("text",)
    search_help_text = _("Finds words in the text and in the name of the author.")
    fields = (
        "in_conversation", "role_word", "by", "state", "what_happened", "whole_text", "whole_reasoning", "model",
        "provider", "finish", "token_count", "opinions", "created_at", "ended", "other_versions",
    )  # fmt: skip
    readonly_fields = fields
    # Nothing can be done to messages, so there is nothing to select them for.
    actions = None

    def get_ordering(self, request: HttpRequest) -> Any:
        """Read those of one conversation from its index, which has them in this order."""
        return ("-pk",) if "conversation" in request.GET else super().get_ordering(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        deleted = Conversation.objects.filter(deleted_at__isnull=False)
        found = Message.objects.select_related("conversation", "author").exclude(conversation__in=deleted.values("pk"))
        found = found.defer("conversation__system_prompt")
        if not self.is_list(request):
            return found
        found = found.prefetch_related(Prefetch("feedback", Feedback.objects.only("message", "value")))
        return found.defer("text", "reasoning", "error").annotate(beginning=Substr("text", 1, EXCERPT_CHARACTERS * 3))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """Find messages in which each word stands, or whose author is named so."""
        plain = []
        for word in searched(search_term):
            if people := named(word):
                queryset = queryset.filter(said(word) | Q(author__in=people))
            else:
                plain.append(word)
        if ORDER_VAR in request.GET:
            return matching(parse_each(plain), queryset) if plain else queryset, False
        if plain:
            queryset = queryset.filter(pk__in=newest(parse_each(plain), queryset, FOUND_COUNTED))
        # The order of time too, and that of the index of terms. Without any a period is read from that of the times.
        return queryset.order_by("-pk") if search_term.strip() else queryset, False

    def get_fields(self, request: HttpRequest, obj: Message | None = None) -> list[Any]:
        """Leave out what this message has nothing of."""
        absent = set()
        if obj is not None:
            absent |= {"whole_reasoning"} if not obj.reasoning else set()
            absent |= {"what_happened"} if not obj.error else set()
            if obj.role != Message.Role.ASSISTANT:
                absent |= {"state", "model", "provider", "finish", "token_count", "opinions", "ended"}
            else:
                absent |= {"by"}
        return [name for name in self.fields if name not in absent]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Message | None:
        found = super().get_object(request, object_id, from_field)
        if found is not None and found.is_running:
            grown = grown_texts([found.pk])[found.pk]
            found.text, found.reasoning = grown["text"], grown["reasoning"]
        return found

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if message := context.get("original"):
            context["title"] = gettext("Message of a person") if message.role == "user" else gettext("Reply")
            context["subtitle"] = first_line(message.text, EXCERPT_CHARACTERS)
        return super().render_change_form(request, context, *args, **kwargs)

    # Columns and fields

    @admin.display(description=_("time"), ordering="created_at")
    def time(self, message: Message) -> str:
        return date_format(localtime(message.created_at), "SHORT_DATETIME_FORMAT")

    @admin.display(description=_("from"))
    def said_by(self, message: Message) -> SafeString:
        """Show role and author, or model and provider."""
        names = [user_link(message.author)] if message.author else [message.model, message.provider]
        shown = format_html_join(" · ", "{}", ((name,) for name in names if name))
        return format_html('<span class="quiet">{}</span> {}', message.get_role_display(), shown)

    @admin.display(description=_("role"))
    def role_word(self, message: Message) -> str:
        return message.get_role_display()

    @admin.display(description=_("text"))
    def excerpt(self, message: Message) -> str:
        return first_line(message.beginning, EXCERPT_CHARACTERS) or "…"  # type: ignore[attr-defined]

    @admin.display(description=_("conversation"))
    def in_conversation(self, message: Message) -> SafeString:
        return link(conversation_url(message.conversation_id, message.pk), message.conversation)

    @admin.display(description=_("author"))
    def by(self, message: Message) -> SafeString | str:
        return user_link(message.author)

    @admin.display(description=_("status"))
    def state(self, message: Message) -> SafeString | str:
        # A person's own message is always done, which is not worth a word.
        return status_badge(message.status) if message.role == Message.Role.ASSISTANT else ""

    @admin.display(description=_("tokens"))
    def token_count(self, message: Message) -> str:
        return tokens(message.usage)

    @admin.display(description=_("feedback"))
    def feedback(self, message: Message) -> str:
        given = [feedback.value for feedback in message.feedback.all()]
        signs = {Verdict.UP: "▲", Verdict.DOWN: "▼"}
        return " ".join(f"{sign} {localize(count)}" for value, sign in signs.items() if (count := given.count(value)))

    @admin.display(description=_("feedback"))
    def opinions(self, message: Message) -> SafeString | str:
        given = message.feedback.select_related("user").order_by("pk")
        rows = ((user_link(each.user), each.get_value_display()) for each in given)
        return format_html_join(" · ", "{}: {}", rows) or EMPTY

    @admin.display(description=_("error"))
    def what_happened(self, message: Message) -> str:
        error = message.error or {}
        return f"{error.get('detail', '')} ({error.get('code', '')})"

    @admin.display(description=_("text"))
    def whole_text(self, message: Message) -> SafeString:
        return format_html('<div class="said">{}</div>', message.text or "…")

    @admin.display(description=_("reasoning"))
    def whole_reasoning(self, message: Message) -> SafeString:
        return format_html('<div class="said said-reasoning">{}</div>', message.reasoning)

    @admin.display(description=_("finish reason"))
    def finish(self, message: Message) -> str:
        return message.finish_reason or EMPTY

    @admin.display(description=_("ended"))
    def ended(self, message: Message) -> str:
        return date_format(localtime(message.ended_at), "DATETIME_FORMAT") if message.ended_at else EMPTY

    @admin.display(description=_("versions"))
    def other_versions(self, message: Message) -> SafeString | str:
        siblings = siblings_of([message])[message.parent_id]
        if len(siblings) < 2:
            return gettext("the only one")
        return format_html_join(
            " · ",
            "{}",
            (
                (format_html("<strong>{}</strong>", number) if pk == message.pk else link(message_url(pk), number),)
                for number, pk in enumerate(siblings, start=1)
            ),
        )
