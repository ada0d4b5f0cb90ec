"""One reader of events over HTTP: what it is sent, from the first byte to `bye`.

It has what a socket has besides: close codes come as `bye`, flow control is whether the
line takes more, and whoever comes back goes on from the `id` of the last event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.db import Error
from django.http import HttpRequest

from . import events, process, readings
from .bell import Bell
from .bookmark import Bookmark
from .commands import UNAVAILABLE
from .consumers import places_in
from .cursors import Reader
from .events import Close
from .line import Line, Watch
from .reply import PARTS
from .rooms import LONGEST_DELTA, delta

log = logging.getLogger(__name__)

#: Proxies cut a connection on which nothing was said for a minute, some for 30 s.
HEARTBEAT_SECONDS = 15.0
#: A proxy that gathers bytes before it passes them on has enough with this comment.
PADDING = 2048
#: When an `EventSource` comes back by itself; all of them at once would be a blow.
RETRY_MILLISECONDS = (1000, 3000)

#: What is said before the end, where the hub has not said it.
REASONS = {
    Close.SIGNED_OUT: "You are signed out.",
    Close.NOT_FOUND: "There is no such conversation.",
    Close.TOO_SLOW: "Too little was read for too long.",
}


class Listener:
    """One reader of events over HTTP: what it is sent, from the first byte to `bye`."""

    def __init__(self, request: HttpRequest, user: Any, pk: UUID | None) -> None:
        self.here = process.start()
        self.user = user
        self.pk = pk
        scope = getattr(request, "scope", {})
        self.held = _bookmark(request)
        self.told = self.held or Bookmark()
        self.mark = ""
        self.woken = Bell()
        self.watch = Watch(scope.get("line") or Line(), settings.CHAT.ack_seconds)
        self.reader = Reader(
            self.wake,
            user_id=user.pk,
            session_key=request.session.session_key or "",
            max_unacked=settings.CHAT.buffer_bytes,
        )

    def wake(self) -> None:
        self.woken.set()
        if self.reader.close_code is not None:
            # Whoever may not stay, or keeps a server from ending, and does not read.
            self.watch.hurry()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        hub = self.here.hub
        hub.seat(self.reader, self.pk)
        beating = asyncio.create_task(self.beat(), name="event stream")
        try:
            async with (
                contextlib.aclosing(self.lines()) as lines,
                contextlib.aclosing(self.watch.over(lines)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        finally:
            beating.cancel()
            hub.unseat(self.reader)

    async def beat(self) -> None:
        """Have an empty frame told now and then, which becomes a comment."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.reader.tell("")

    async def lines(self) -> AsyncGenerator[bytes, None]:
        retry = random.randint(*RETRY_MILLISECONDS)  # noqa: S311  # no secret
        yield b":" + b" " * PADDING + b"\nretry: %d\n\n" % retry
        try:
            async for frame in self.frames():
                yield self.event(frame) if frame else b": still here\n\n"
                # Whoever asks for more has taken in what came before.
                self.reader.receive_ack(self.reader.sent)
        except Error:
            log.exception("an event stream was ended")
            yield self.event(events.encode(events.bye(UNAVAILABLE.detail, RETRY_MILLISECONDS[0], Close.TRY_AGAIN)))
        code = self.reader.close_code
        if code in REASONS:
            yield self.event(events.encode(events.bye(REASONS[code], None, code)))

    def event(self, frame: str) -> bytes:
        self.told.receive(frame)
        before, self.mark = self.mark, str(self.told)
        mark = f"id: {self.mark}\n" if self.mark != before else ""
        # JSON has no raw line ends, so a frame is one line of data.
        return f"{mark}data: {frame}\n\n".encode()

    async def frames(self) -> AsyncGenerator[str, None]:
        if self.pk is not None:
            self.resume()
        frames = cast(AsyncGenerator[str, None], self.here.hub.frames(self.reader, self.woken))
        async with contextlib.aclosing(frames):
            async for frame in frames:
                if self.reader.close_code in REASONS:
                    return  # what waited is no longer this reader's to know
                if reply := self.told.lacks(frame):
                    # A bare version says nothing of replies that had begun before it.
                    async for missing in self.rest_of(int(reply)):
                        yield missing
                yield frame

    def resume(self) -> None:
        """Have the reader told all that comes after what it holds."""
        self.reader.ask(self.held.version if self.held else None)
        if self.held:
            self.reader.ask_for(places_in(self.held.replies))

    async def rest_of(self, pk: int) -> AsyncGenerator[str, None]:
        """A text that has ended, from where the reader stands in it."""
        have = self.told.replies.get(str(pk), events.Have())
        for part in PARTS:
            start = getattr(have, part)
            while text := await self.here.threads.run(readings.load_window, pk, part, start, LONGEST_DELTA):
                frame, start = delta(pk, part, start, text)
                yield frame


def _bookmark(request: HttpRequest) -> Bookmark | None:
    query = request.META["QUERY_STRING"].encode()
    return Bookmark.parse(request.headers.get("Last-Event-ID", "")) or Bookmark.in_query(query)
