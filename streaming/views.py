"""The doors besides sockets: one command as a POST, and the events as an event stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import Error
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from conversations.models import Conversation
from conversations.refusals import Refused

from . import events, process
from .commands import UNAVAILABLE, carry_out
from .consumers import version_in
from .cursors import Reader
from .hub import Hub

log = logging.getLogger(__name__)

#: Proxies cut a connection on which nothing was said for a minute, some for 30 s.
HEARTBEAT_SECONDS = 15.0

STATUSES = {
    "not_found": 404,
    "forbidden": 403,
    "too_large": 413,
    "too_fast": 429,
    "over_quota": 429,
    "busy": 409,
    "unavailable": 503,
}


class SignedOut(Refused):
    """Nobody is signed in (any more)."""


@require_POST
async def commands(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Carry out one command: 200 with its answer, or 4xx with `code` and `detail`."""
    try:
        user, conversation = await _admitted(request, pk)
        command = events.parse_command(request.body)
        answer = await carry_out(command, conversation, user)
        return _json(answer)
    except Refused as refused:
        return _refused(refused)
    except RequestDataTooBig:
        return _refused(Refused("too_large", "This is more than a command can be."))
    except Error:
        log.exception("a command was not carried out")
        return _refused(UNAVAILABLE)


@require_GET
@never_cache
async def event_stream(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Send the events of a conversation as Server-Sent Events; `Last-Event-ID` or
    `?version=` say up to where the reader holds them."""
    try:
        user, conversation = await _admitted(request, pk)
    except Refused as refused:
        return _refused(refused)
    here = process.start()
    hub = here.hub
    if here.is_stopping:
        return _refused(Refused("unavailable", "The server restarts."))
    if hub.readers_of(user.pk) >= settings.CHAT.sockets_per_user:
        return _refused(Refused("too_fast", "Too many open pages.", retry_after=5))
    last = request.headers.get("Last-Event-ID", "")
    version = version_in(f"version={last}".encode())
    if version is None:
        version = version_in(request.META["QUERY_STRING"].encode())
    stream = _events(hub, user, conversation.pk, request.session.session_key, version)
    response = StreamingHttpResponse(stream, content_type="text/event-stream")
    # nginx would gather the events until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _admitted(request: HttpRequest, pk: UUID) -> tuple[Any, Conversation]:
    user = await request.auser()
    if not user.is_authenticated:
        raise SignedOut("forbidden", "Sign in first.")
    conversation = await Conversation.objects.visible_to(user).filter(pk=pk).afirst()
    if conversation is None:
        raise Refused("not_found", "There is no such conversation.")
    return user, conversation


async def _events(hub: Hub, user: Any, pk: UUID, session_key: str | None, version: int | None) -> AsyncIterator[bytes]:
    woken = asyncio.Event()
    reader = Reader(
        woken.set,
        user_id=user.pk,
        session_key=session_key or "",
        max_unacked=settings.CHAT.buffer_bytes,
    )
    hub.seat(reader, pk)
    try:
        if version is None:
            seen = await hub.give_snapshot(reader, user)
        else:
            seen = await hub.give_changes(reader, user, version)
        if not seen:
            reader.close(events.Close.NOT_FOUND)
        async for frame in _with_heartbeat(hub.frames(reader, woken)):
            if frame is None:
                yield b": still here\n\n"
            else:
                yield _event(frame, reader.told)
                # Whoever asked for more has taken in what came before.
                reader.receive_ack(reader.sent)
    finally:
        hub.unseat(reader)


async def _with_heartbeat(frames: AsyncIterator[str]) -> AsyncIterator[str | None]:
    """Yield the frames, and None whenever there was none for a while."""
    following = asyncio.ensure_future(anext(frames, ""))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=HEARTBEAT_SECONDS)
            if not done:
                yield None
            elif frame := following.result():
                yield frame
                following = asyncio.ensure_future(anext(frames, ""))
            else:
                return
    finally:
        following.cancel()


def _event(frame: str, version: int | None) -> bytes:
    mark = "" if version is None else f"id: {version}\n"
    # JSON has no raw line ends, so a frame is one line of data.
    return f"{mark}data: {frame}\n\n".encode()


def _refused(refused: Refused) -> HttpResponse:
    status = 401 if isinstance(refused, SignedOut) else STATUSES.get(refused.code, 400)
    return _json(events.command_refused(refused), status)


def _json(content: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(events.encode(content), status=status, content_type="application/json")
