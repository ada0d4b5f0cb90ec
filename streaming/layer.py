"""The channel layer as this house uses it: hints between processes that never raise.

A hint may be lost, and everything goes on: whoever missed it finds out from the
database within a second. So nobody waits for a hint to be sent, and a layer that is
down is asked again in the background.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from .events import PROCESSES_GROUP

log = logging.getLogger(__name__)

Hint = dict[str, Any]

#: Hints that wait for a layer which is slow or away; the oldest are dropped first.
LONGEST_QUEUE = 10_000
RETRY_SECONDS = 1.0


class Layer:
    """One process's seat in the groups of the channel layer."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._layer: Any = get_channel_layer()
        self._channel: str | None = None
        self._groups: set[str] = {PROCESSES_GROUP}
        self._outbox: deque[Callable[[], Any]] = deque(maxlen=LONGEST_QUEUE)
        self._wake = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        #: Is there anybody else to hear a hint? Not in memory.
        self.reaches_others = not isinstance(self._layer, InMemoryChannelLayer)

    def join(self, group: str) -> None:
        self._groups.add(group)
        self._later(self._group_add, group)

    def leave(self, group: str) -> None:
        self._groups.discard(group)
        self._later(self._group_discard, group)

    def say(self, group: str, hint: Hint) -> None:
        """Tell the other processes that listen to `group`, at some moment soon."""
        if self.reaches_others:
            self._later(self._send, group, {**hint, "origin": self._process})

    async def listen(self, receive: Callable[[Hint], None]) -> None:
        """Hand each hint of another process to `receive`, for ever."""
        if not self.reaches_others:
            return
        self._sender = asyncio.create_task(self._send_what_waits(), name="layer sender")
        while True:
            try:
                await self._sit_down()
                while True:
                    hint = await self._layer.receive(self._channel)
                    if hint.get("origin") != self._process:
                        _follow(receive, hint)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("hints are down: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _sit_down(self) -> None:
        # One for ever: another would leave the first in its groups, where the layer fills
        # it with messages that nobody takes out.
        if self._channel is None:
            self._channel = await self._layer.new_channel("hub")
        await self._take_seats()

    def _later(self, work: Callable[..., Any], *args: Any) -> None:
        if self.reaches_others:
            self._outbox.append(lambda: work(*args))
            self._wake.set()

    async def _send_what_waits(self) -> None:
        seated = True
        while True:
            await self._wake.wait()
            try:
                if not seated:
                    await self._take_seats()
                    seated = True
                await self._send_all()
            except Exception as error:
                # Redis is down or slow: what is lost here the database still has.
                log.warning("a hint was not sent: %s", error)
                seated = False
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _send_all(self) -> None:
        self._wake.clear()
        while self._outbox:
            await self._outbox.popleft()()

    async def _take_seats(self) -> None:
        for group in list(self._groups):
            await self._group_add(group)

    async def _group_add(self, group: str) -> None:
        if self._channel and group in self._groups:
            await self._layer.group_add(group, self._channel)

    async def _group_discard(self, group: str) -> None:
        if self._channel and group not in self._groups:
            await self._layer.group_discard(group, self._channel)

    async def _send(self, group: str, hint: Hint) -> None:
        await self._layer.group_send(group, hint)

    async def close(self) -> None:
        """Leave all groups and close what was opened."""
        if self._sender:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        try:
            if hasattr(self._layer, "close_pools"):
                await self._layer.close_pools()
            elif self.reaches_others:
                # Of the pub/sub layer: it closes what this loop has opened, no more.
                await self._layer.flush()
        except Exception as error:
            log.warning("the channel layer was not left cleanly: %s", error)


def _follow(receive: Callable[[Hint], None], hint: Hint) -> None:
    try:
        receive(hint)
    except Exception:
        # Of a process of another version, say. The next one may be better.
        log.exception("a hint was not followed")
