"""Conversations: whose they are and what was said. They can be erased whole, by an action that asks first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import (
    Count,
    Exists,
    IntegerField,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, Membership, Message, Role
from ..search import is_often_said, matching_of_few, said
from ..status import Status
from ..text import storable
from .filters import (
    MemberPicked,
    ModelFilter,
    RunningFilter,
    TemporaryFilter,
    named,
    searched,
)
from .history import History
from .transcript import transcript
from .words import link, status_badge, user_link

#: Conversations that can be erased at once.
MOST_TO_ERASE = 200


@admin.register(Conversation)
class ConversationAdmin(History[Conversation]):
    list_display = ("name", "owner", "member_count", "message_count", "updated_at", "running_now")
    list_filter = (RunningFilter, TemporaryFilter, ModelFilter, "updated_at", MemberPicked)
    date_hierarchy = "updated_at"
    ordering = ("-updated_at", "-pk")
    # What an index has in order.
    sortable_by = ("updated_at",)
    search_fields = ("title",)
    search_help_text = _("Finds words in the title, in the messages, and in the names of the members.")
    fields = (
        "people",
        "stays",
        "shown_model",
        "system_prompt",
        "parameters",
        "created_at",
        "updated_at",
        "all_messages",
    )
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
        found = (
            Conversation.objects.with_running()
            .filter(deleted_at=None)
            .prefetch_related(Prefetch("membership_set", memberships))
        )
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
                here = matching_of_few(word, Message.objects.filter(conversation=OuterRef("pk")))
                queryset = queryset.filter(Exists(here) | titled | Q(pk__in=people))
            else:
                there = Message.objects.filter(said(word)).values("conversation")
                queryset = queryset.filter(pk__in=there.union(Conversation.objects.filter(titled).values("pk"), people))
        return queryset, False

    # Columns

    @admin.display(description=_("title"))
    def name(self, conversation: Conversation) -> SafeString | str:
        badge = format_html(' <span class="badge">{}</span>', gettext("temporary"))
        return format_html("{}{}", conversation, badge) if conversation.is_temporary else str(conversation)

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

    @admin.display(description=_("kept"))
    def stays(self, conversation: Conversation) -> str:
        if not conversation.is_temporary:
            return gettext("yes")
        words = gettext("No: it is erased %d minutes after nobody has it open any more.")
        return words % settings.CHAT.temporary_minutes

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
