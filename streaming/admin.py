"""Providers and their keys, and what a reply has cost.

A key is put in here, used by the process, and never shown again: no page, log, error or history entry has more of it than its last
four characters.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import ItemsView
from dataclasses import dataclass
from pprint import pformat
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Prefetch, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from conversations.admin import MessageAdmin as HistoryMessageAdmin
from conversations.models import Message

from .endpoint import Endpoint
from .keys import Locked
from .models import APIKey, Provider, Run, origin
from .probe import Probe, probe

#: Models whose names a test tells.
NAMES_TO_TELL = 5
#: Providers and keys that are tested at once.
MOST_TO_TEST = 20

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[APIKey]
    ProviderModelForm = forms.ModelForm[Provider]
    KeyInlineFormSet = BaseInlineFormSet[APIKey, Provider, "KeyForm"]
    KeyInline = admin.StackedInline[APIKey, Provider]
    RunInlineBase = admin.StackedInline[Run, Message]
    ProviderModelAdmin = admin.ModelAdmin[Provider]
else:
    KeyModelForm = ProviderModelForm = forms.ModelForm
    KeyInlineFormSet = BaseInlineFormSet
    KeyInline = RunInlineBase = admin.StackedInline
    ProviderModelAdmin = admin.ModelAdmin


# Keys


class KeyForm(KeyModelForm):
    """Takes a key in. The field is always rendered empty, also when something else was wrong."""

    secret = forms.CharField(
        label=_("API key"),
        required=False,
        max_length=2000,
        widget=forms.PasswordInput(
            render_value=False, attrs={"autocomplete": "new-password", "spellcheck": "false", "class": "vTextField"}
        ),
    )

    class Meta:
        model = APIKey
        fields = ("label", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_new = self.instance.sealed in (None, b"")
        self.fields["secret"].widget.attrs["placeholder"] = gettext("sk-…") if is_new else gettext("enter to replace")

    @sensitive_variables("secret")
    def clean_secret(self) -> str:
        """Refuse what cannot be a key: it becomes part of an HTTP header."""
        secret: str = self.cleaned_data["secret"]
        if not all("!" <= character <= "~" for character in secret):
            raise ValidationError(
                _("A key has only visible ASCII characters: no blanks, no line breaks, no “Bearer” before it.")
            )
        return secret

    def clean(self) -> dict[str, Any] | None:
        """Want a key in a new row."""
        cleaned = super().clean()
        if not self.instance.sealed and not self.cleaned_data.get("secret") and "secret" not in self.errors:
            self.add_error("secret", _("Enter the key."))
        return cleaned

    def save(self, commit: bool = True) -> APIKey:
        """Seal the key into its row; without one the old stays."""
        if self.cleaned_data.get("secret"):
            self.instance.put(self.cleaned_data["secret"])
        return super().save(commit)


class KeyFormSet(KeyInlineFormSet):
    def save_existing(self, form: KeyForm, obj: APIKey, commit: bool = True) -> APIKey:
        """Save a key's row, unless it went with the old address: then only a new key makes it come back."""
        if not keys_were_dropped(self.instance) or form.cleaned_data.get("secret"):
            return super().save_existing(form, obj, commit)
        return obj


class KeysOfProvider(KeyInline):
    model = APIKey
    form = KeyForm
    formset = KeyFormSet  # type: ignore[assignment]
    extra = 0
    fields = ("label", "secret", "stored", "enabled")
    readonly_fields = ("stored",)
    verbose_name_plural = _("API keys: the first that is enabled is used")

    @admin.display(description=_("stored"))
    def stored(self, key: APIKey) -> SafeString | str:
        """Show by what a key can be told from others, and whether it can be used at all."""
        if not key.sealed:
            return gettext("Nothing yet.")
        mark = format_html('<code>…{}</code> <span class="quiet">{}</span>', key.last_four, key.fingerprint)
        if is_locked(key):
            why = gettext("It was stored with another encryption key. Enter it again, or delete it.")
            return format_html('{} <span class="badge badge-failed">{}</span> {}', mark, gettext("locked"), why)
        # The button belongs to a form of its own that stands outside: what is typed here is not sent by it.
        button = '{} <button type="submit" form="test" name="key" value="{}" class="button">{}</button>'
        return format_html(button, mark, key.pk, gettext("Test this key"))


def is_locked(key: APIKey) -> bool:
    try:
        key.reveal()
    except Locked:
        return True
    return False


# Providers


class ProviderForm(ProviderModelForm):
    class Meta:
        model = Provider
        fields = ("name", "base_url", "model_list", "enabled", "order")
        widgets = {
            "base_url": forms.TextInput(attrs={"class": "vTextField", "inputmode": "url", "spellcheck": "false"}),
            "model_list": forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField", "spellcheck": "false"}),
        }
        help_texts = {
            "base_url": _(
                "Up to and with the version, as in https://api.openai.com/v1. A key belongs to the host it was entered for: "
                "another host here drops the keys below."
            )
        }

    def clean_base_url(self) -> str:
        return str(self.cleaned_data["base_url"]).rstrip("/")


@admin.register(Provider)
class ProviderAdmin(ProviderModelAdmin):
    form = ProviderForm
    inlines = (KeysOfProvider,)
    list_display = ("name", "base_url", "model_count", "key_marks", "enabled", "order")
    list_filter = ("enabled",)
    list_editable = ("enabled", "order")
    search_fields = ("name", "base_url", "model_list")
    actions = ("test",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return super().get_queryset(request).prefetch_related(Prefetch("keys", APIKey.objects.order_by("created_at")))

    def get_urls(self) -> list[Any]:
        own = [
            path(
                "<int:pk>/test/",
                self.admin_site.admin_view(require_POST(self.test_view)),
                name="streaming_provider_test",
            )
        ]
        return [*own, *super().get_urls()]

    def get_changelist_formset(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Name the fields of the list, which have no labels there."""
        formset = super().get_changelist_formset(request, **kwargs)
        for field in formset.form.base_fields.values():
            field.widget.attrs["aria-label"] = field.label
        return formset

    # Columns

    @admin.display(description=_("models"))
    def model_count(self, provider: Provider) -> str:
        names = provider.model_names
        return ", ".join(names[:3]) + (" …" if len(names) > 3 else "") if names else gettext("as the server lists")

    @admin.display(description=_("keys"))
    def key_marks(self, provider: Provider) -> str:
        marks = [f"…{key.last_four or key.fingerprint}" for key in provider.keys.all() if key.enabled]
        return ", ".join(marks) or gettext("none")

    # Saving

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Keep the keys of a form out of every report of an error; test after saving where that was asked for."""
        hide_secrets(request)
        response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        # Only here is the transaction over: on SQLite it would keep everybody else waiting for the provider.
        if saved := getattr(request, "provider_to_test", None):
            self.test_and_tell(request, Provider.objects.filter(pk=saved.pk))
        return response

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        """Save, and say what an address does to the keys."""
        old = Provider.objects.filter(pk=obj.pk).first()
        keys = old.keys.count() if old else 0
        super().save_model(request, obj, form, change)
        if old and keys and origin(old.base_url) != origin(obj.base_url):
            obj.dropped_keys = keys  # type: ignore[attr-defined]
            host = urlsplit(obj.base_url).hostname
            words = ngettext(
                "The address leads to another host, so the key of the old one was dropped. Enter a key for %(host)s.",
                "The address leads to another host, so the %(count)d keys of the old one were dropped. "
                "Enter a key for %(host)s.",
                keys,
            )
            self.message_user(request, words % {"count": keys, "host": host}, messages.WARNING)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        provider = form.instance
        if is_open_to_all(provider.base_url):
            words = gettext("%(name)s is asked over http://: its key and all conversations travel unencrypted.")
            self.message_user(request, words % {"name": provider.name}, messages.WARNING)
        if "_test" in request.POST:
            request.provider_to_test = provider  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Provider, post_url_continue: str | None = None) -> HttpResponse:
        response = super().response_add(request, obj, post_url_continue)
        return self.back_to(obj) if "_test" in request.POST else response

    def response_change(self, request: HttpRequest, obj: Provider) -> HttpResponse:
        response = super().response_change(request, obj)
        return self.back_to(obj) if "_test" in request.POST else response

    def back_to(self, provider: Provider) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:streaming_provider_change", args=[provider.pk]))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if context.get("errors") and any(request.POST[name] for name in names_of_secrets(request)):
            words = gettext("Nothing was saved. Please enter the keys again: they are not sent back to this page.")
            self.message_user(request, words, messages.WARNING)
        return super().render_change_form(request, context, *args, **kwargs)

    # Testing

    def has_test_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("streaming.change_provider")

    @admin.action(description=_("Test the selected providers"), permissions=["test"])
    def test(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        self.test_and_tell(request, queryset)

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Test one provider: with the key that is named, else with each of its keys."""
        provider = self.get_object(request, str(pk))
        if provider is None or not self.has_test_permission(request):
            return HttpResponseRedirect(reverse("admin:streaming_provider_changelist"))
        self.test_and_tell(request, Provider.objects.filter(pk=pk), request.POST.get("key", ""))
        return self.back_to(provider)

    def test_and_tell(self, request: HttpRequest, providers: QuerySet[Provider], key_id: str = "") -> None:
        trials = [trial for provider in providers.prefetch_related("keys") for trial in trials_of(provider, key_id)]
        run_all(trials[:MOST_TO_TEST])
        for trial in trials[:MOST_TO_TEST]:
            self.message_user(request, trial.sentence, messages.SUCCESS if trial.is_good else messages.ERROR)
        if len(trials) > MOST_TO_TEST:
            words = gettext("Only the first %d were tested.") % MOST_TO_TEST
            self.message_user(request, words, messages.WARNING)


class KeysHidden(SafeExceptionReporterFilter):
    """Hides keys that were typed in also where the settings say debug: the page of an error is soon copied elsewhere."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> ItemsView[str, Any]:
        """Hide a variable that has a key in it, in whichever function of whichever library."""
        typed = [request.POST[name].strip() for name in names_of_secrets(request)] if request else []
        shown = dict(super().get_traceback_frame_variables(request, tb_frame))
        for name, value in shown.items():
            words = pformat(value)
            if any(secret and secret in words for secret in typed):
                shown[name] = self.cleansed_substitute
        return shown.items()


def names_of_secrets(request: HttpRequest) -> list[str]:
    return [name for name in request.POST if name.endswith("-secret")]


def hide_secrets(request: HttpRequest) -> None:
    request.exception_reporter_filter = KeysHidden()
    request.sensitive_post_parameters = names_of_secrets(request)  # type: ignore[attr-defined]


def keys_were_dropped(provider: Provider) -> bool:
    return bool(getattr(provider, "dropped_keys", 0))


def is_open_to_all(base_url: str) -> bool:
    """Would others on the way read along? Not on this machine, and hardly in one's own network."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        # A name without a dot is one of the own network, as those of a compose file are.
        return "." in host and not host.endswith((".localhost", ".local", ".internal", ".lan", ".home.arpa"))


# Tests


@dataclass
class Trial:
    """One test: of a provider with one of its keys, or without a key."""

    provider: Provider
    key: APIKey | None = None
    endpoint: Endpoint | None = None
    result: Probe | None = None

    @property
    def is_good(self) -> bool:
        return self.result is not None and self.result.is_good

    @property
    def name(self) -> str:
        if self.key is None:
            return self.provider.name
        return f"{self.provider.name}, {self.key.label} …{self.key.last_four or self.key.fingerprint}".replace(
            ",  ", ", "
        )

    @property
    def sentence(self) -> str:
        """Tell what came of it."""
        if self.result is None:
            words = gettext("%(name)s: the key is locked, because it was stored with another encryption key.")
            return words % {"name": self.name}
        return f"{self.name}: {' '.join(self.parts(self.result))}"

    def parts(self, result: Probe) -> list[str]:
        found = []
        if result.models:
            words = ngettext(
                "The server lists %(count)s model (%(names)s).",
                "The server lists %(count)s models (%(names)s).",
                len(result.models),
            )
            found.append(words % {"count": localize(len(result.models)), "names": shortened(result.models)})
        if result.error is not None:
            asked = gettext("Asked for %(model)s:") % {"model": result.model}
            return [*found, *([asked] if result.model else []), gettext(result.error.detail)]
        words = gettext("%(model)s answers: its first token came after %(time)s ms.")
        return [*found, words % {"model": result.model, "time": localize(result.first_token_ms)}]


def shortened(names: tuple[str, ...]) -> str:
    told = ", ".join(name[:60] for name in names[:NAMES_TO_TELL])
    return f"{told}, …" if len(names) > NAMES_TO_TELL else told


def trials_of(provider: Provider, key_id: str = "") -> list[Trial]:
    """Return the tests of a provider: with the named key, else with each enabled one, else without any."""
    keys = [key for key in provider.keys.all() if (str(key.pk) == key_id if key_id else key.enabled)]
    if not keys:
        return [] if key_id else [Trial(provider, endpoint=endpoint_of(provider))]
    return [with_key(provider, key) for key in keys]


@sensitive_variables("secret")
def with_key(provider: Provider, key: APIKey) -> Trial:
    try:
        secret = key.reveal()
    except Locked:
        return Trial(provider, key)
    return Trial(provider, key, endpoint_of(provider, secret))


def endpoint_of(provider: Provider, secret: str = "") -> Endpoint:
    return Endpoint(provider.name, provider.base_url, secret, provider.pk, models=tuple(provider.model_names))


def run_all(trials: list[Trial]) -> None:
    """Run tests at the same time, so that a person waits for the slowest and not for all."""

    async def run(trial: Trial) -> None:
        if trial.endpoint is not None:
            trial.result = await probe(trial.endpoint)

    async def run_together() -> None:
        await asyncio.gather(*(run(trial) for trial in trials))

    async_to_sync(run_together)()


# What a reply has cost


class RunOfReply(RunInlineBase):
    """Who ran a reply, on the page of its message."""

    model = Run
    verbose_name = _("run")
    verbose_name_plural = _("How it was made")
    fields = ("attempts", "provider_link", "key", "started_at", "first_token", "duration", "token_count", "waiting")
    readonly_fields = fields
    can_delete = False
    extra = 0
    max_num = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return super().get_queryset(request).select_related("provider", "api_key")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("conversations.view_message")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("provider"))
    def provider_link(self, run: Run) -> SafeString | str:
        if run.provider is None:
            return str(run.reply.provider)
        url = reverse("admin:streaming_provider_change", args=[run.provider.pk])
        return format_html('<a href="{}">{}</a>', url, run.provider)

    @admin.display(description=_("API key"))
    def key(self, run: Run) -> str:
        if run.api_key is None:
            return ""
        return f"{run.api_key.label} …{run.api_key.last_four or run.api_key.fingerprint}".strip()

    @admin.display(description=_("first token"))
    def first_token(self, run: Run) -> str:
        return seconds_between(run.started_at, run.first_token_at)

    @admin.display(description=_("duration"))
    def duration(self, run: Run) -> str:
        return seconds_between(run.started_at, run.ended_at)

    @admin.display(description=_("tokens read + written"))
    def token_count(self, run: Run) -> str:
        about = "≈ " if run.estimated else ""
        return f"{about}{localize(run.prompt_tokens)} + {localize(run.completion_tokens)}"

    @admin.display(description=_("waiting"))
    def waiting(self, run: Run) -> str:
        return run.waiting_reason if run.ended_at is None else ""


def seconds_between(start: Any, end: Any) -> str:
    if start is None or end is None:
        return ""
    seconds: str = localize(round((end - start).total_seconds(), 2))
    return gettext("%s s") % seconds


admin.site.unregister(Message)


@admin.register(Message)
class MessageAdmin(HistoryMessageAdmin):
    """The history's messages, with what this app knows of how they were made."""

    inlines = (RunOfReply,)

    def get_inline_instances(self, request: HttpRequest, obj: Message | None = None) -> list[Any]:
        """Show how it was made of what was made."""
        return super().get_inline_instances(request, obj) if obj is not None and hasattr(obj, "run") else []
