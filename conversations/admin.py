"""The history in the admin: read, searched and filtered, never changed.

The one thing that can be done to it is to erase whole conversations, by an action that asks first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.views.main import ORDER_VAR
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import (
    Count,
    Exists,
    IntegerField,
    Model,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Coalesce, Substr
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import date_format, localize
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .models import Conversation, Membership, Message, Role, grown_texts
from .search import is_often_said, said, terms_of
from .status import Status
from .text import first_line, storable
from .wire import siblings_of

#: Messages of a branch on the page of a conversation.
TRANSCRIPT_MESSAGES = 100
#: What is shown of one message there; the whole stands on the page of the message.
TRANSCRIPT_CHARACTERS = 3000
EXCERPT_CHARACTERS = 90
#: A filter offers the models that the newest rows name: to ask all rows of a long history would take seconds.
ROWS_FOR_CHOICES = 200
#: Rows of a list that are counted, and so the last that its pages lead to: to count a million takes longer than to read a page.
ROWS_COUNTED = 2_000
#: Conversations that can be erased at once.
MOST_TO_ERASE = 200
#: Of a search: its words, and for each of them the people of that name.
WORDS_SEARCHED, PEOPLE_SEARCHED = 10, 100
EMPTY = "-"

STATUS_WORDS = {
    Status.QUEUED: _("queued"),
    Status.STREAMING: _("streaming"),
    Status.DONE: _("done"),
    Status.STOPPED: _("stopped"),
    Status.INTERRUPTED: _("interrupted"),
    Status.FAILED: _("failed"),
}

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
    HistoryPaginator = Paginator[Any]
else:
    HistoryPaginator = Paginator

    class ModelAdmin(admin.ModelAdmin, Generic[M]):
        """Django's own knows the model as a parameter to the type checker only."""


# Links and words


def link(url: str, text: object, css: str = "") -> SafeString:
    return format_html('<a href="{}" class="{}">{}</a>', url, css, text)


def conversation_url(conversation_id: object, message_id: int | None = None) -> str:
    """Return the page of a conversation; with a message, the branch through it, at its place."""
    url = reverse("admin:conversations_conversation_change", args=[conversation_id])
    return url if message_id is None else f"{url}?through={message_id}#message-{message_id}"


def message_url(message_id: int) -> str:
    return reverse("admin:conversations_message_change", args=[message_id])


def user_link(user: User | None) -> SafeString | str:
    if user is None:
        return EMPTY
    return link(reverse("admin:auth_user_change", args=[user.pk]), user.get_username())


def status_badge(status: str) -> SafeString:
    word = STATUS_WORDS[Status(status)]
    return format_html('<span class="badge badge-{}">{}</span>', status, word)


def tokens(usage: dict[str, Any] | None) -> str:
    """Return "read + written", or nothing where nobody counted."""
    if not usage:
        return EMPTY
    about = "≈ " if usage.get("estimated") else ""
    return f"{about}{localize(usage.get('prompt_tokens') or 0)} + {localize(usage.get('completion_tokens') or 0)}"


def searched(search_term: str) -> list[str]:
    """Return the words of a search. What is nothing but punctuation stands for itself alone, and is found nowhere."""
    words = search_term.split()
    return ([word for word in words if terms_of(word)] or words)[:WORDS_SEARCHED]


def named(word: str) -> list[int]:
    """Return the people whose names have a word in them."""
    found = User.objects.filter(username__icontains=storable(word)).order_by("pk")
    return list(found.values_list("pk", flat=True)[:PEOPLE_SEARCHED])


# Filters


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


class RunningFilter(admin.SimpleListFilter):
    title = _("replies")
    parameter_name = "running"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("1", _("being written now"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # From the few replies that run to their conversations, not from all of these to their replies.
        running = Message.objects.running().values("conversation")
        return queryset.filter(pk__in=running) if self.value() else queryset


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


# What all of the history has in common


class BoundedPaginator(HistoryPaginator):
    """Counts rows as far as pages lead to them."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[:ROWS_COUNTED].count()

    @property
    def is_cut(self) -> bool:
        """Are there more, perhaps?"""
        return self.count == ROWS_COUNTED


class History(ModelAdmin[M]):
    """Rows that nobody adds, changes or deletes here."""

    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 200
    # The number of all rows is a second scan of the table for each search.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def is_list(self, request: HttpRequest) -> bool:
        match = request.resolver_match
        return match is not None and (match.url_name or "").endswith("_changelist")


# Conversations


@admin.register(Conversation)
class ConversationAdmin(History[Conversation]):
    list_display = ("name", "owner", "member_count", "message_count", "updated_at", "running_now")
    list_filter = (RunningFilter, ModelFilter, "updated_at", MemberPicked)
    date_hierarchy = "updated_at"
    ordering = ("-updated_at", "-pk")
    # What an index has in order.
    sortable_by = ("updated_at",)
    search_fields = ("title",)
    search_help_text = _("Finds words in the title, in the messages, and in the names of the members.")
    fields = ("people", "shown_model", "system_prompt", "created_at", "updated_at", "all_messages")
    readonly_fields = fields
    actions = ("erase",)

    def get_ordering(self, request: HttpRequest) -> Any:
        """Read those of one member from an index, however many there are."""
        if "member" in request.GET:
            return ("-membership__updated_at", "-membership__conversation_id")
        return super().get_ordering(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        memberships = Membership.objects.select_related("user").order_by("pk")
        said = Message.objects.filter(conversation=OuterRef("pk")).order_by().values("conversation")
        count = Subquery(said.annotate(count=Count("*")).values("count"), output_field=IntegerField())
        found = Conversation.objects.with_running().prefetch_related(Prefetch("membership_set", memberships))
        return found.defer("system_prompt").annotate(message_count=Coalesce(count, 0))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        """Find conversations where each word is said, or stands in the title or in the name of a member.

        As subqueries: a join with members and messages would be each of the one times each of the other. A word that is
        said seldom leads to few conversations; of a word that is said everywhere the newest ones are found by trying.
        """
        for word in searched(search_term):
            titled = Q(title__icontains=storable(word))
            people = Membership.objects.filter(user__in=named(word)).values("conversation")
            if is_often_said(word):
                here = Message.objects.filter(said(word), conversation=OuterRef("pk"))
                queryset = queryset.filter(Exists(here) | titled | Q(pk__in=people))
            else:
                there = Message.objects.filter(said(word)).values("conversation")
                queryset = queryset.filter(pk__in=there.union(Conversation.objects.filter(titled).values("pk"), people))
        return queryset, False

    # Columns

    @admin.display(description=_("title"))
    def name(self, conversation: Conversation) -> str:
        return str(conversation)

    @admin.display(description=_("owner"))
    def owner(self, conversation: Conversation) -> SafeString:
        owners = [m.user for m in conversation.membership_set.all() if m.role == Role.OWNER]
        return format_html_join(", ", "{}", ((user_link(user),) for user in owners))

    @admin.display(description=_("members"))
    def member_count(self, conversation: Conversation) -> int:
        return len(conversation.membership_set.all())

    @admin.display(description=_("messages"))
    def message_count(self, conversation: Conversation) -> SafeString:
        url = reverse("admin:conversations_message_changelist")
        return link(f"{url}?conversation={conversation.pk}", localize(conversation.message_count))  # type: ignore[attr-defined]

    @admin.display(description=_("running"))
    def running_now(self, conversation: Conversation) -> SafeString | str:
        return status_badge(Status.STREAMING) if conversation.running else ""  # type: ignore[attr-defined]

    # The page of one

    @admin.display(description=_("members"))
    def people(self, conversation: Conversation) -> SafeString:
        members = conversation.membership_set.all()
        return format_html_join(", ", "{} ({})", ((user_link(m.user), m.get_role_display()) for m in members))

    @admin.display(description=_("model"))
    def shown_model(self, conversation: Conversation) -> str:
        return conversation.model or gettext("the default model")

    @admin.display(description=_("messages"))
    def all_messages(self, conversation: Conversation) -> SafeString:
        count = conversation.message_count  # type: ignore[attr-defined]
        words = ngettext("%(count)s message on all branches", "%(count)s messages on all branches", count)
        url = reverse("admin:conversations_message_changelist")
        return link(f"{url}?conversation={conversation.pk}", words % {"count": localize(count)})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if conversation := context.get("original"):
            context |= transcript(conversation, request.GET)
            context["can_erase"] = self.has_erase_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    # Erasing

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("conversations.delete_conversation")

    @admin.action(description=_("Delete the selected conversations for all members"), permissions=["erase"])
    def erase(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        """Ask first, with what is about to go; then erase exactly that."""
        chosen = list(queryset[: MOST_TO_ERASE + 1])
        if len(chosen) > MOST_TO_ERASE:
            words = gettext("Choose at most %d conversations at a time.") % MOST_TO_ERASE
            self.message_user(request, words, messages.ERROR)
            return None
        if request.POST.get("confirmed") != "yes":
            return self.ask_before_erasing(request, chosen)
        for conversation in chosen:
            log_erasure(request.user, conversation)
            conversation.erase()
        words = ngettext("%d conversation was deleted.", "%d conversations were deleted.", len(chosen))
        self.message_user(request, words % len(chosen), messages.SUCCESS)
        return None

    def ask_before_erasing(self, request: HttpRequest, chosen: Sequence[Conversation]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Delete conversations?"),
            "opts": self.opts,
            "chosen": chosen,
            "checkbox": ACTION_CHECKBOX_NAME,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/conversations/conversation/erase.html", context)


def log_erasure(user: Any, conversation: Conversation) -> None:
    """Note who erased which conversation; not its title, which is made of what was said in it."""
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(Conversation),
        object_id=str(conversation.pk),
        object_repr=str(conversation.pk),
        action_flag=DELETION,
    )


def transcript(conversation: Conversation, query: Any) -> dict[str, Any]:
    """Return what the page of a conversation shows of a branch: the one through `?through=<message>`, else the shown
    one; with `?before=<message>` the part ahead of that message."""
    through = message_named(conversation, query.get("through"))
    before = message_named(conversation, query.get("before"))
    leaf = through.newest_leaf().pk if through else conversation.head_id
    path = path_with_texts(before.parent_id if before else leaf)
    is_part = before is not None
    if through is not None and before is None and through not in path:
        path, is_part = path_with_texts(through.pk), True
    shown = path[-TRANSCRIPT_MESSAGES:]
    siblings = siblings_of(shown)
    return {
        "transcript": [(message, versions(message, siblings[message.parent_id])) for message in shown],
        "is_other_branch": leaf != conversation.head_id,
        "leaf": leaf,
        "is_part": is_part,
        "older": shown[0] if len(path) > len(shown) else None,
    }


def message_named(conversation: Conversation, pk: str | None) -> Message | None:
    if pk and pk.isascii() and pk.isdigit() and len(pk) < 19:
        return conversation.messages.filter(pk=int(pk)).first()
    return None


def path_with_texts(leaf_id: int | None) -> Sequence[Message]:
    """Return the end of the way to a message, and one more. Each has `shown_text`, which is cut, and `is_cut`; of running
    replies it is what they have said so far."""
    limit = TRANSCRIPT_CHARACTERS
    rows = Message.objects.path_to(leaf_id, TRANSCRIPT_MESSAGES + 1).select_related("author")
    found = list(rows.defer("text", "reasoning").annotate(beginning=Substr("text", 1, limit + 1)))
    running = grown_texts(message.pk for message in found if message.is_running)
    for message in found:
        text = running[message.pk]["text"] if message.is_running else message.beginning  # type: ignore[attr-defined]
        message.shown_text, message.is_cut = text[:limit], len(text) > limit  # type: ignore[attr-defined]
        message.badge = status_badge(message.status)  # type: ignore[attr-defined]
    return found


def versions(message: Message, siblings: Sequence[int]) -> list[dict[str, Any]]:
    """Return the other wordings of a question or the other replies to it, if there are any."""
    if len(siblings) < 2:
        return []
    return [
        {"number": number, "url": f"?through={pk}#message-{pk}", "is_this": pk == message.pk}
        for number, pk in enumerate(siblings, start=1)
    ]


# Messages


@admin.register(Message)
class MessageAdmin(History[Message]):
    list_display = ("time", "excerpt", "said_by", "state", "token_count", "in_conversation")
    list_display_links = ("time", "excerpt")
    list_filter = (StatusFilter, "role", ModelFilter, ProviderFilter, "created_at", ConversationPicked)
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    # What an index has in order.
    sortable_by = ("time",)
    search_fields = ("text",)
    search_help_text = _("Finds words in the text and in the name of the author.")
    fields = (
        "in_conversation", "role_word", "by", "state", "what_happened", "whole_text", "whole_reasoning", "model",
        "provider", "finish", "token_count", "created_at", "ended", "other_versions",
    )  # fmt: skip
    readonly_fields = fields
    # Nothing can be done to messages, so there is nothing to select them for.
    actions = None

    def get_ordering(self, request: HttpRequest) -> Any:
        """Read those of one conversation from its index, which has them in this order."""
        return ("-pk",) if "conversation" in request.GET else super().get_ordering(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        found = Message.objects.select_related("conversation", "author")
        found = found.defer("conversation__system_prompt")
        if not self.is_list(request):
            return found
        return found.defer("text", "reasoning", "error").annotate(beginning=Substr("text", 1, EXCERPT_CHARACTERS * 3))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """Find messages in which each word stands, or whose author is named so."""
        for word in searched(search_term):
            people = named(word)
            queryset = queryset.filter(said(word) | Q(author__in=people) if people else said(word))
        if search_term.strip() and ORDER_VAR not in request.GET:
            # The order of time too, and that of the index of terms. Without any a period is read from that of the times.
            queryset = queryset.order_by("-pk")
        return queryset, False

    def get_fields(self, request: HttpRequest, obj: Message | None = None) -> list[Any]:
        """Leave out what this message has nothing of."""
        absent = set()
        if obj is not None:
            absent |= {"whole_reasoning"} if not obj.reasoning else set()
            absent |= {"what_happened"} if not obj.error else set()
            if obj.role != Message.Role.ASSISTANT:
                absent |= {"state", "model", "provider", "finish", "token_count", "ended"}
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
