"""Who answers, with which key, and who owns a running reply."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from conversations.locks import Lock
from conversations.models import Conversation, Message
from conversations.prepared import insert, parameter

from . import keys
from .endpoint import Endpoint


def validate_base_url(url: str) -> None:
    """Accept an http(s) address without credentials, query or fragment."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port or a bracket
        is_address = False
    if not is_address:
        raise ValidationError(_("An address like https://api.openai.com/v1 is needed."))
    if parts.username or parts.password:
        raise ValidationError(_("Keys belong into the list of keys, not the address."))
    if parts.query or parts.fragment:
        raise ValidationError(_("The address ends with its path, without ? or #."))


class Provider(models.Model):
    """An OpenAI-compatible endpoint."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        validators=[validate_base_url],
        help_text=_("Up to and with the version, as in https://api.openai.com/v1"),
    )
    model_list = models.TextField(
        _("models"),
        blank=True,
        help_text=_("One a line. Empty: the server is asked for its list."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    order = models.PositiveSmallIntegerField(_("order"), default=0, help_text=_("The lowest number is asked first."))
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        ordering = ["order", "pk"]
        verbose_name = _("provider")
        verbose_name_plural = _("providers")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; and when the address now leads somewhere else, drop the keys: they were
        entrusted to the old place alone."""
        with transaction.atomic():
            old = Provider.objects.filter(pk=self.pk).values_list("base_url", flat=True)
            has_moved = any(origin(url) != origin(self.base_url) for url in old)
            super().save(*args, **kwargs)
            if has_moved:
                self.keys.all().delete()

    @property
    def model_names(self) -> list[str]:
        return [line.strip() for line in self.model_list.splitlines() if line.strip()]


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of an address: who would get a key sent there."""
    try:
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname or "", parts.port or default
    except ValueError:
        return "", url, None  # nobody, and to be put right it has to be replaced


class APIKey(models.Model):
    """A key of one provider. It can be put in and used, never read back by a person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="keys")
    label = models.CharField(_("label"), max_length=100, blank=True)
    sealed = models.BinaryField(editable=False)
    last_four = models.CharField(_("last four"), max_length=4, editable=False)
    fingerprint = models.CharField(max_length=8, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        ordering = ["created_at"]
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.label or self.provider.name} …{self.last_four}"

    @property
    def _row(self) -> str:
        return f"streaming.apikey|{self.pk}|{self.provider_id}"

    def put(self, secret: str) -> None:
        """Seal `secret` into this row, which has its provider already."""
        self.sealed = keys.seal(secret, self._row)
        # Four of a short key would be much of it.
        self.last_four = secret[-4:] if len(secret) >= 16 else ""
        self.fingerprint = keys.fingerprint(secret)

    def reveal(self) -> str:
        """Return the secret, for the Authorization header. Raises keys.Locked."""
        return keys.unseal(bytes(self.sealed), self._row)


class RunQuerySet(models.QuerySet["Run"]):
    def unended(self) -> Self:
        return self.filter(ended_at=None)

    def owned_by(self, owner: str) -> Self:
        return self.unended().filter(owner=owner)

    def under(self, lease: dict[str, Any]) -> Self:
        """The run with this lease, while it has it: `reply`, `owner`, `epoch`."""
        return self.unended().filter(**lease)

    def unowned(self, dead: list[str]) -> Self:
        """Runs that anybody may take over: never owned, given back, the lease has run
        out by the database's own clock, or the owner is known to be `dead`."""
        free = Q(owner="") | Q(lease_until__lt=Now()) | Q(owner__in=dead)
        return self.unended().filter(free)


class Run(models.Model):
    """The lease on one reply, and what was spent for it.

    Whoever holds the lease runs the reply. `epoch` grows with each owner: writes name
    it, so an owner that slept through the end of its lease finds every door shut.
    """

    reply = models.OneToOneField(Message, models.CASCADE, primary_key=True, related_name="run")
    owner = models.CharField(max_length=200, blank=True)
    epoch = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    #: POSTs to an upstream, each counted before it is made.
    attempts = models.PositiveIntegerField(default=0)
    stop_requested = models.BooleanField(default=False)
    waiting_until = models.DateTimeField(null=True)
    waiting_reason = models.CharField(max_length=300, blank=True)
    provider = models.ForeignKey(Provider, models.SET_NULL, null=True)
    api_key = models.ForeignKey(APIKey, models.SET_NULL, null=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=timezone.now)
    first_token_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    #: Of a run that was begun a moment ago: who can be asked.
    endpoints: Sequence[Endpoint] = ()
    #: Of a run that ends here: how long it took, see `Timing`. Kept with the usage of its message.
    times: Mapping[str, int] = MappingProxyType({})

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes = [models.Index(fields=["owner"], name="unended_runs", condition=Q(ended_at=None))]

    def __str__(self) -> str:
        return f"{self.reply_id}: {self.owner or 'nobody'}, epoch {self.epoch}"

    @classmethod
    def claim(cls, reply_id: int, owner: str, dead: list[str]) -> Run | None:
        """Make `owner` the owner of a reply that nobody runs; None if somebody does,
        or if it has ended or is gone."""
        if not cls.ensure(reply_id):
            return None
        claimed = (
            cls.objects.unowned(dead)
            .filter(reply_id=reply_id)
            .update(owner=owner, epoch=F("epoch") + 1, lease_until=lease_end())
        )
        return cls.objects.get(pk=reply_id) if claimed else None

    @classmethod
    def ensure(cls, reply_id: int) -> bool:
        """Make the run of a reply, where it has none yet; False where it has ended or is gone."""
        running = Message.objects.running().filter(pk=reply_id)
        if cls.objects.filter(pk=reply_id).exists():
            return running.exists()
        with transaction.atomic():
            # Who deletes a conversation has its lock, and would stumble over a run that is
            # made after the others have been found.
            LOCK_BY_REPLY.take(reply=reply_id)
            if not running.exists():
                return False
            cls.objects.get_or_create(reply_id=reply_id)
        return True

    @classmethod
    def begin(cls, reply: Message, owner: str, asked: Endpoint | None) -> Run:
        """Make the run of a reply in the transaction that queues it, owned from its birth: nobody has to claim it. Where it
        is known who will be `asked`, the first attempt is counted."""
        # When it was queued is the database's time, too.
        until = reply.created_at + timedelta(seconds=settings.CHAT.lease_seconds)
        run = cls(reply=reply, owner=owner, epoch=1, lease_until=until, started_at=reply.created_at)
        if asked is not None:
            run.attempts, run.provider_id, run.api_key_id = 1, asked.provider_id, asked.key_id
        insert(run)
        return run

    @staticmethod
    def begun_with(reply: Message) -> Run | None:
        """Return the run that `begin` has made of this very object."""
        return reply._state.fields_cache.get("run")

    def mine(self) -> RunQuerySet:
        """This run, as long as it is still the owner's who loaded it."""
        return Run.objects.under(self.lease)

    @property
    def lease(self) -> dict[str, Any]:
        return {"reply": self.reply_id, "owner": self.owner, "epoch": self.epoch}


def lease_end() -> Any:
    """When a lease that is given now runs out, by the clock of the database: those of
    several machines need not agree."""
    return Now() + timedelta(seconds=settings.CHAT.lease_seconds)


#: The places of a lease in a statement.
LEASE = {name: parameter(Run, name) for name in ("reply", "owner", "epoch")}
#: The conversation of a reply.
LOCK_BY_REPLY = Lock(lambda: Conversation.objects.filter(messages=parameter(Message, "id", "reply")))
