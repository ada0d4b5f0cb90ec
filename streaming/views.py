"""The doors besides sockets: one command as a POST, and the events as an event stream."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import aclose_old_connections
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import Error
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.utils.cache import patch_cache_control
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from conversations.models import Conversation
from conversations.refusals import Refused

from . import events, process
from .commands import UNAVAILABLE, carry_out
from .event_stream import Listener
from .pace import Paces

log = logging.getLogger(__name__)

#: When to come back after a refusal that passes by itself.
BUSY_SECONDS = 5
RESTART_SECONDS = 1

STATUSES = {
    "not_found": 404,
    "forbidden": 403,
    "too_large": 413,
    "too_fast": 429,
    "over_quota": 429,
    "busy": 409,
    "unavailable": 503,
}

RESTARTING = Refused("unavailable", "The server is restarting.", retry_after=RESTART_SECONDS)
NOT_SPOKEN = Refused("not_spoken", "This version of the protocol is not spoken here.")

_paces: WeakKeyDictionary[process.Process, Paces] = WeakKeyDictionary()


class SignedOut(Refused):
    """Nobody is signed in (any more)."""


# Commands


@require_POST
async def commands(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Carry out one command: 200 with its answer, or 4xx with `code` and `detail`."""
    command = None
    try:
        user = await _user(request)
        _check_pace(user)
        conversation = await _conversation(user, pk)
        command = events.parse_command(request.body)
        if isinstance(command, events.Ping):
            return _json(events.pong(command))
        return _json(await carry_out(command, conversation, user))
    except Refused as refused:
        return _refused(refused, command)
    except RequestDataTooBig:
        return _refused(Refused("too_large", "This is more than a command can be."))
    except Error:
        log.exception("a command was not carried out")
        return _refused(UNAVAILABLE, command)


def _check_pace(user: Any) -> None:
    """As many commands by POST as frames on a socket, for all of somebody's tabs."""
    paces = _paces.setdefault(process.start(), Paces())
    now = asyncio.get_running_loop().time()
    wait = paces.seconds_to_wait(user.pk, settings.CHAT.frames_per_minute, now)
    if wait > 0:
        raise Refused("too_fast", "Too many commands at once. Wait a moment.", retry_after=math.ceil(wait))


# Event streams


@require_GET
@never_cache
async def event_stream(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Send the events of a conversation as Server-Sent Events; `Last-Event-ID` or
    `?version=` say up to where the reader holds them."""
    return await _stream(request, pk)


@require_GET
@never_cache
async def sidebar_stream(request: HttpRequest) -> HttpResponseBase:
    """Send what changes in the user's sidebar, to a page that shows no conversation."""
    return await _stream(request, None)


async def _stream(request: HttpRequest, pk: UUID | None) -> HttpResponseBase:
    try:
        user = await _user(request)
        if pk is not None:
            await _conversation(user, pk)
        _check_seats(user)
    except Refused as refused:
        return _refused(refused)
    except Error:
        log.exception("an event stream was not opened")
        return _refused(UNAVAILABLE)
    # The request lasts as long as somebody reads, and would keep its connection to the database: the pool has few.
    await aclose_old_connections()
    response = StreamingHttpResponse(Listener(request, user, pk).chunks(), content_type="text/event-stream")
    # nginx would gather the events until its buffer is full, others would pack them.
    response.headers["X-Accel-Buffering"] = "no"
    patch_cache_control(response, no_transform=True)
    return response


def _check_seats(user: Any) -> None:
    here = process.start()
    if here.is_stopping:
        raise RESTARTING
    if here.hub.readers_of(user.pk) >= settings.CHAT.sockets_per_user:
        raise Refused("too_fast", "Too many open pages.", retry_after=BUSY_SECONDS)


# Both


async def _user(request: HttpRequest) -> Any:
    if not events.is_spoken(request.META["QUERY_STRING"].encode()):
        raise NOT_SPOKEN
    user = await request.auser()
    if not user.is_authenticated:
        raise SignedOut("forbidden", "Sign in first.")
    return user


async def _conversation(user: Any, pk: UUID) -> Conversation:
    conversation = await Conversation.objects.visible_to(user).filter(pk=pk).afirst()
    if conversation is None:
        raise Refused("not_found", "There is no such conversation.")
    return conversation


def _refused(refused: Refused, command: events.Command | None = None) -> HttpResponse:
    status = 401 if isinstance(refused, SignedOut) else STATUSES.get(refused.code, 400)
    response = _json(events.command_refused(refused, command), status)
    if status in (429, 503):
        response.headers["Retry-After"] = str(math.ceil(refused.facts.get("retry_after", RESTART_SECONDS)))
    return response


def _json(content: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(events.encode(content), status=status, content_type="application/json")
