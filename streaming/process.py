"""This process: its name in leases, and the parts that live as long as it does.

daphne tells nobody when it starts, so everything here begins with the first connection
or request (`start`), which on uvicorn is the lifespan event before all others.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.db import connection

from . import duty as duties
from . import owners
from .duty import Duty

if TYPE_CHECKING:
    from .hub import Hub
    from .runner import Runner

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Of each second, for what the search has put off.
SECONDS_FOR_THE_INDEX = 0.05
#: How late a deleted conversation may be erased, at the most.
SECONDS_BETWEEN_ERASURES = 5.0


class Process:
    """The hub, the runner and the chores of one event loop."""

    def __init__(self, duty: Duty) -> None:
        from .forgetting import Forgetting
        from .hub import Hub
        from .layer import Layer
        from .runner import Runner
        from .store import Store
        from .threads import DatabaseThreads

        self.loop = asyncio.get_running_loop()
        #: Asked to end: whoever comes now is sent to another process, or back later.
        self.is_stopping = False
        self.has_ended = False
        self.name = owners.name_of(os.getpid())
        self.threads = DatabaseThreads("database", 4)
        self.layer = Layer(self.name)
        self.hub: Hub = Hub(self.layer, self.threads)
        self.store = Store(settings.CHAT.frame_milliseconds / 1000, self.hub.publish)
        self.runner: Runner = Runner(self.name, self.store, self.hub, self.threads, duty)
        self.forgetting = Forgetting(self.hub, self.command)
        self._chores = [
            asyncio.create_task(self.store.commit_gains(), name="store"),
            asyncio.create_task(self.layer.listen(self._receive_hint), name="layer"),
            asyncio.create_task(self.runner.get_ready(), name="get_ready"),
            *(self._every(seconds, chore) for seconds, chore in self._timetable()),
        ]

    def _timetable(self) -> list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]]:
        from .catalogue import LIST_SECONDS
        from .forgetting import SECONDS_BETWEEN

        return [
            (0.5, self.runner.renew_leases),
            (1.0, self.runner.take_over),
            (1.0, self.hub.catch_up),
            (1.0, self.hub.close_slow_readers),
            (LIST_SECONDS, self.runner.refresh_models),
            (1.0, self.tend_index),
            (SECONDS_BETWEEN_ERASURES, self.erase_deleted),
            (SECONDS_BETWEEN, self.forgetting.look),
            # A right that has gone is felt within a second: half of it is for the look.
            (0.5, self.hub.recheck_everybody),
        ]

    def _every(self, seconds: float, chore: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        async def repeat() -> None:
            while True:
                try:
                    await chore()
                except Exception:
                    # A database that is away, say. The chore comes round again.
                    log.exception("%s failed", chore.__qualname__)
                await asyncio.sleep(seconds)

        return asyncio.create_task(repeat(), name=chore.__qualname__)

    async def tend_index(self) -> None:
        """Do for the search what the database does not do by itself: step by step, and in turn with what is stored, so
        that nothing that is said waits for more than one of them."""
        from conversations import search

        end = self.loop.time() + SECONDS_FOR_THE_INDEX
        while await self.command(search.tend_index_once) and self.loop.time() < end:
            pass

    async def erase_deleted(self) -> None:
        """Erase what was deleted a while ago, one after the other."""
        from conversations.models import Conversation

        while await self.command(Conversation.erase_due):
            pass

    def _receive_hint(self, hint: dict[str, Any]) -> None:
        if not self.runner.receive_hint(hint):
            self.hub.receive_hint(hint)

    def soon(self, work: Callable[..., None], *args: Any) -> None:
        """Do `work` on the loop; for receivers of signals, which run in any thread."""
        self.loop.call_soon_threadsafe(work, *args)

    async def command(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Do what a person asked for, which writes.

        SQLite lets one transaction write at a time, and whoever waits for that there sleeps and looks again: on the
        store's thread they wait in turn, and not at all beside each other.
        """
        if connection.vendor == "sqlite":
            return await self.store.in_turn(partial(work, *args, **kwargs))
        return await self.threads.run(work, *args, **kwargs)

    async def stop(self) -> None:
        """End running replies honestly, close the sockets, leave nothing behind."""
        if self.is_stopping:
            return
        self.is_stopping = True
        await self.runner.drain(settings.CHAT.drain_seconds)
        await self.hub.say_bye()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.runner.close()
        await self.layer.close()
        self.store.close()
        self.threads.close()
        self.has_ended = True


_current: Process | None = None


def start(*, anew: bool = False, duty: Duty | None = None) -> Process:
    """Return the parts of this process, begun on the running loop if they were not, with
    the duty of a web process if no other is named.

    What was stopped stays so, for whoever still comes in the last moments of a server;
    `anew` says that a server begins, and with it everything.
    """
    global _current
    known = _current is not None and _current.loop is asyncio.get_running_loop()
    if _current is None or not known or (anew and _current.is_stopping):
        _current = Process(duty or duties.of_web())
    return _current


async def stop() -> None:
    """End what `start` began, if it was begun on this loop."""
    if _current is not None and _current.loop is asyncio.get_running_loop():
        await _current.stop()


def hurry() -> None:
    """End sooner: whoever asked for it does not want to wait."""
    if _current is not None:
        _current.runner.hurry()


def current() -> Process | None:
    """Return the parts of this process while they live: there are none in a management
    command, and whoever commits there leaves it to the sweep of others."""
    return None if _current is None or _current.has_ended else _current
