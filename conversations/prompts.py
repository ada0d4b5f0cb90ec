"""The prompt library: its pages, which work without scripts, and the same as JSON for the list in the composer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from . import wire
from .models import ASKER_LOCK, Prompt
from .search import LONGEST_QUERY, folded
from .text import first_line
from .views import page_frame, prefers_json

#: In the list of the composer: who looks for more types a letter.
PROMPTS_AT_ONCE = 20
#: So many names are looked through, and shown on the page.
MOST_SHOWN = 1_000
#: Of a text, in a list.
BEGINNING = 140

if TYPE_CHECKING:
    PromptModelForm = forms.ModelForm[Prompt]
else:
    PromptModelForm = forms.ModelForm


class PromptForm(PromptModelForm):
    """A prompt of one's own. Its owner is known before it is checked, because her names are."""

    class Meta:
        model = Prompt
        fields = ("name", "text", "shared")

    def clean_name(self) -> str:
        """Keep a name on one line."""
        return " ".join(self.cleaned_data["name"].split())

    def clean_text(self) -> str:
        # A form sends its line breaks as CRLF, whatever was typed.
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")

    def clean(self) -> dict[str, Any] | None:
        """Hold one person to so many prompts, of which each has a name of its own."""
        cleaned = super().clean()
        others = Prompt.objects.filter(owner_id=self.instance.owner_id).exclude(pk=self.instance.pk)
        if others.filter(name=self.cleaned_data.get("name")).exists():
            self.add_error("name", _("There is a prompt with this name already."))
        if self.instance._state.adding and others.count() >= settings.CHAT.prompts_per_user:
            words = _("You have %(most)d prompts already. Delete one that you do not need.")
            raise ValidationError(words, params={"most": settings.CHAT.prompts_per_user})
        return cleaned


@login_required
@never_cache
@require_GET
def prompts(request: HttpRequest) -> HttpResponse:
    """The page of the prompts that somebody may use; as JSON those whose names have the words of `?q=`."""
    if prefers_json(request):
        return JsonResponse({"prompts": [_as_json(prompt) for prompt in named(request.user, request.GET.get("q", ""))]})
    shown = list(_listed(request.user)[:MOST_SHOWN])
    mine = [prompt for prompt in shown if prompt.owner_id == request.user.pk]
    shared = [prompt for prompt in shown if prompt.owner_id != request.user.pk]
    return render(request, "prompts/list.html", {**page_frame(request), "mine": mine, "shared": shared})


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def new_prompt(request: HttpRequest) -> HttpResponse:
    return _edited(request, Prompt(owner=_user(request)))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def prompt(request: HttpRequest, pk: int) -> HttpResponse:
    """The page of one prompt, to be changed by its owner; as JSON its whole text."""
    found = get_object_or_404(Prompt.objects.visible_to(request.user).select_related("owner"), pk=pk)
    if request.method == "GET" and prefers_json(request):
        return JsonResponse({"id": str(found.pk), "name": found.name, "text": found.text})
    if found.owner_id == request.user.pk:
        return _edited(request, found)
    if request.method == "GET":
        return render(request, "prompts/read.html", {**page_frame(request), "prompt": found})
    raise PermissionDenied


@login_required
@require_POST
def delete_prompt(request: HttpRequest, pk: int) -> HttpResponse:
    get_object_or_404(Prompt.objects.of(request.user), pk=pk).delete()
    return redirect("prompts")


def _edited(request: HttpRequest, found: Prompt) -> HttpResponse:
    """Answer with the form, or with the list once what it says is kept."""
    with transaction.atomic():
        # Two forms at once would each find room for one more.
        ASKER_LOCK.take(pk=request.user.pk)
        form = PromptForm(request.POST or None, instance=found)
        if request.method == "POST" and form.is_valid():
            form.save()
            return redirect("prompts")
    status = 400 if form.is_bound else 200
    return render(request, "prompts/edit.html", {**page_frame(request), "form": form, "prompt": found}, status=status)


def named(user: User | AnonymousUser, query: str) -> list[Any]:
    """Return the first prompts whose names have all words of a query in them: before all others those that begin with it."""
    words = folded(query[:LONGEST_QUERY]).split()
    # Their names first: a text may be long, and this is asked with each letter.
    names = Prompt.objects.visible_to(user).order_by("name", "pk").values_list("pk", "name")[:MOST_SHOWN]
    found = [(pk, folded(name)) for pk, name in names if all(word in folded(name) for word in words)]
    found.sort(key=lambda row: not row[1].startswith(" ".join(words)))
    first = [pk for pk, _ in found[:PROMPTS_AT_ONCE]]
    return sorted(_listed(user).filter(pk__in=first), key=lambda prompt: first.index(prompt.pk))


def _listed(user: User | AnonymousUser) -> Any:
    """Those that `user` may use, with the beginnings of their texts."""
    shown = Prompt.objects.visible_to(user).select_related("owner").order_by("name", "pk")
    return shown.defer("text").annotate(beginning=Left("text", 4 * BEGINNING))


def _as_json(prompt: Any) -> dict[str, Any]:
    return {
        "id": str(prompt.pk),
        "name": prompt.name,
        "beginning": first_line(prompt.beginning, BEGINNING),
        "owner": wire.user_as_json(prompt.owner),
        "shared": prompt.shared,
    }


def _user(request: HttpRequest) -> User:
    assert request.user.is_authenticated
    return request.user
