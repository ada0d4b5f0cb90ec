"""Can this process serve? For load balancers, containers and people at night."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from channels.layers import get_channel_layer
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from conversations.models import Conversation

SECONDS = 3.0
A_FILE_OF_THE_PAGE = "js/page.js"


@never_cache
async def health(request: HttpRequest) -> JsonResponse:
    """200 and `{"status": "ok"}`, or 503 and what is wrong, without any detail that
    would help a stranger. What a process can serve without makes it `degraded`, with 200:
    a load balancer must not take all of them away because Redis is."""
    results = await asyncio.gather(*(_reason(check) for check in CHECKS.values()))
    wrong = {name: why for name, why in zip(CHECKS, results, strict=True) if why}
    if wrong.keys() - HINTS_ONLY:
        return JsonResponse({"status": "unavailable", "reasons": wrong}, status=503)
    return JsonResponse({"status": "degraded", "reasons": wrong} if wrong else {"status": "ok"})


async def _reason(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(SECONDS):
            await check()
    except TimeoutError:
        return "no answer"
    except Exception as error:
        return type(error).__name__
    return ""


async def _database() -> None:
    await Conversation.objects.aexists()


async def _channel_layer() -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send("health", {"type": "health"})


async def _static_files() -> None:
    # Raises where the hashed name is not known: collectstatic was not run.
    staticfiles_storage.url(A_FILE_OF_THE_PAGE)
    if not (finders.find(A_FILE_OF_THE_PAGE) or _is_collected()):
        raise FileNotFoundError(A_FILE_OF_THE_PAGE)


def _is_collected() -> bool:
    return bool(staticfiles_storage.exists(A_FILE_OF_THE_PAGE))


#: See `streaming.layer`: with the layer down everything works, and some of it a second later.
HINTS_ONLY = {"channel layer"}
CHECKS = {
    "database": _database,
    "channel layer": _channel_layer,
    "static files": _static_files,
}
