"""Which models can be asked, and where: providers of the admin, config.yaml, the demo."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from django.conf import settings

from conversations.prepared import Select

from .demo import MODEL as DEMO_MODEL
from .endpoint import Endpoint
from .keys import Locked
from .models import APIKey, Provider

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
#: What OpenAI's own list of models begins with for us: the list itself has a hundred
#: names, most of which do not chat.
OPENAI_MODELS = ("gpt-5-mini", "gpt-5", "gpt-4.1-mini", "gpt-4o-mini")
#: For how long a server's own list of models is believed, in seconds.
LIST_SECONDS = 60.0

#: base URL → (when it was asked, what it said). Of this process.
_lists: dict[str, tuple[float, tuple[str, ...]]] = {}


def endpoints() -> list[Endpoint]:
    """Return where models can be asked, in the order of preference.

    Providers of the admin come first, then config.yaml's; where there is neither, the
    built-in demo answers.
    """
    found = list(_of_providers())
    if settings.CHAT.app_key or settings.CHAT.base_url:
        found.append(_of_config())
    return found or [Endpoint("demo", "", models=(DEMO_MODEL,))]


PROVIDERS = Select(lambda: Provider.objects.filter(enabled=True))
KEYS = Select(lambda: APIKey.objects.filter(provider__enabled=True))


def _of_providers() -> Iterator[Endpoint]:
    if not (providers := PROVIDERS.instances(Provider)):
        return
    keys: defaultdict[int, list[APIKey]] = defaultdict(list)
    for key in KEYS.instances(APIKey):
        keys[key.provider_id].append(key)
    for provider in providers:
        if endpoint := _of_provider(provider, keys[provider.pk]):
            yield endpoint


def _of_provider(provider: Provider, keys: list[APIKey]) -> Endpoint | None:
    endpoint = Endpoint(
        provider.name,
        provider.base_url,
        provider_id=provider.pk,
        models=_offered(provider.base_url, provider.model_names),
    )
    for key in keys:
        if key.enabled:
            try:
                return replace(endpoint, key=key.reveal(), key_id=key.pk)
            except Locked:
                log.error("the key %s cannot be opened with this encryption key", key)
    # A server without keys (one on this machine, say) is asked without one; one whose
    # keys are all off or locked is not asked at all.
    return None if keys else endpoint


def _of_config() -> Endpoint:
    base_url = settings.CHAT.base_url or OPENAI_URL
    models = _offered(base_url, settings.CHAT.models)
    return Endpoint("config.yaml", base_url, settings.CHAT.app_key, models=models)


def _offered(base_url: str, models: Iterable[str]) -> tuple[str, ...]:
    """Return the models that are named for a server; none where it is to be asked."""
    is_openai = urlsplit(base_url).hostname == urlsplit(OPENAI_URL).hostname
    return tuple(models) or (OPENAI_MODELS if is_openai else ())


def known_models(endpoint: Endpoint) -> tuple[str, ...]:
    """Return what an endpoint offers: its own list, else what its server last said."""
    return endpoint.models or _lists.get(endpoint.base_url, (0.0, ()))[1]


def is_unknown(endpoint: Endpoint) -> bool:
    """Has the server never been asked what it offers?"""
    return not endpoint.models and endpoint.base_url not in _lists


def is_stale(endpoint: Endpoint) -> bool:
    """Should the server be asked (again) what it offers?"""
    if endpoint.models:
        return False
    asked, _ = _lists.get(endpoint.base_url, (-LIST_SECONDS, ()))
    return time.monotonic() - asked >= LIST_SECONDS


def remember_models(endpoint: Endpoint, models: list[str]) -> None:
    _lists[endpoint.base_url] = (time.monotonic(), tuple(models))


def find(model: str, among: list[Endpoint]) -> tuple[Endpoint, str] | None:
    """Return the endpoint to ask for `model`, and its name there; with an empty name
    the default. None where nobody offers it."""
    wanted = model or settings.CHAT.default_model
    for endpoint in among:
        models = known_models(endpoint)
        if wanted in models:
            return endpoint, wanted
    if not model:
        return next(((e, m[0]) for e in among if (m := known_models(e))), None)
    # A server that could not be asked for its list may know the name all the same.
    unlisted = [e for e in among if not e.models and not known_models(e)]
    return (unlisted[0], wanted) if unlisted else None


def choices() -> list[dict[str, str]]:
    """Return the models a person can choose from, for pages: `[{"id", "name"}]`."""
    names = {name: None for e in endpoints() for name in known_models(e)}
    return [{"id": name, "name": name} for name in names]
