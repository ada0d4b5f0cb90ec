"""SIGTERM and Ctrl+C: a process ends what it holds, and only then does its server hear of it.

uvicorn would close the sockets first and tell us then; daphne tells nothing and cuts
them off. Asked once, a process drains; asked again, it no longer waits for its replies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from time import monotonic as now
from typing import Any

from django.conf import settings

from . import process

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Ctrl+C goes to the processes of a terminal, and from the first of them to the others once
#: more: what comes within this time is one wish, told twice.
SECONDS_OF_ONE_WISH = 1.0
#: Longer than `drainSeconds` and this nothing is waited for. Service managers wait no
#: longer either, and a process that waits for a database which hangs would never end.
SECONDS_TO_LEAVE = 10.0


class Shutdown:
    """How one process ends. `theirs` is what is called when all is said and done."""

    def __init__(self, theirs: Callable[[int], None], before: Callable[[], None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._theirs = theirs
        self._before = before
        self._asked_at: float | None = None
        self._hurries = False
        self._ending: asyncio.Task[None] | None = None

    def receive(self, number: int, frame: Any = None) -> None:
        """Follow a signal: end; when there is a second wish, soon; a third one is not for us."""
        at = now()
        if self._asked_at is None:
            self._asked_at = at
            self._loop.call_soon_threadsafe(self._begin, number)
        elif at - self._asked_at < SECONDS_OF_ONE_WISH:
            pass
        elif not self._hurries:
            self._hurries = True
            self._loop.call_soon_threadsafe(process.hurry)
        else:
            self._theirs(number)

    def _begin(self, number: int) -> None:
        leave_after(settings.CHAT.drain_seconds + SECONDS_TO_LEAVE)
        self._before()
        self._ending = self._loop.create_task(self._end(number))

    async def _end(self, number: int) -> None:
        try:
            await process.stop()
        finally:
            self._theirs(number)


def leave_after(seconds: float) -> None:
    """Leave for good if the process is still there then: its leases tell what it has left
    behind, as with one that was killed."""
    timer = threading.Timer(seconds, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    log.error("this process could not end in time, and leaves everything as it is")
    os._exit(1)


def go_before_the_server() -> None:
    """Hear of SIGTERM and Ctrl+C before the server does. Handlers that are not a server's
    are left alone."""
    if threading.current_thread() is not threading.main_thread():
        return
    theirs = {number: handler for number in SIGNALS if (handler := _handler_of_a_server(number))}
    if theirs:
        shutdown = Shutdown(
            lambda number: theirs[signal.Signals(number)](number, None), lambda: stop_listening(theirs.values())
        )
        for number in theirs:
            signal.signal(number, shutdown.receive)


def _handler_of_a_server(number: signal.Signals) -> Callable[..., Any] | None:
    handler = signal.getsignal(number)
    is_ours = isinstance(getattr(handler, "__self__", None), Shutdown)
    if not callable(handler) or handler is signal.default_int_handler or is_ours:
        return None
    return handler


def stop_listening(theirs: Iterable[Callable[..., Any]]) -> None:
    """Take no more connections: a proxy goes to another process then, and a listening
    socket that somebody holds for us keeps the newcomers for whoever is next. Known of
    uvicorn alone, whose handler belongs to its server."""
    for handler in theirs:
        for server in getattr(getattr(handler, "__self__", None), "servers", ()):
            server.close()
