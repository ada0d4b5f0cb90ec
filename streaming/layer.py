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
#: A layer that takes longer than this for anything is down.
ANSWER_SECONDS = 2.0
#: How often a process tells itself something. Where that does not come back until the
#: next time, a connection is dead without knowing it, or a subscription is lost.
ECHO_SECONDS = 5.0
ECHO = "echo"


class Layer:
    """One process's seat in the groups of the channel layer."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._layer: Any = get_channel_layer()
        self._channel: str | None = None
        self._groups: set[str] = {PROCESSES_GROUP}
        self._outbox: deque[Callable[[], Any]] = deque(maxlen=LONGEST_QUEUE)
        self._wake = asyncio.Event()
        self._heard = 0
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
            self._later(self._layer.group_send, group, {**hint, "origin": self._process})

    async def listen(self, receive: Callable[[Hint], None]) -> None:
        """Hand each hint of another process to `receive`, for ever."""
        if not self.reaches_others:
            return
        sending = asyncio.create_task(self._send_what_waits(), name="layer sender")
        try:
            while True:
                try:
                    channel = await self._sit_down()
                    await self._hear(channel, receive)
                except Exception as error:
                    log.warning("hints are down: %s", _words(error))
                    await self._stand_up()
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            # Before anything else is asked of the layer: what it does not answer holds
            # the rest up.
            await _end(sending)

    async def _sit_down(self) -> str:
        # One for ever, while all is well: another would leave the first in its groups,
        # where the layer fills it with messages that nobody takes out.
        if self._channel is None:
            self._channel = await _in_time(self._layer.new_channel, "hub")
        await self._take_seats()
        return self._channel

    async def _hear(self, channel: str, receive: Callable[[Hint], None]) -> None:
        """Receive hints until the layer fails, or is found to be deaf."""
        receiving = asyncio.create_task(self._receive(channel, receive), name="layer receiver")
        try:
            while not receiving.done():
                heard = self._heard
                self._later(self._layer.send, channel, {"type": ECHO, "origin": self._process})
                await asyncio.wait({receiving}, timeout=ECHO_SECONDS)
                if self._heard == heard and not receiving.done():
                    raise TimeoutError("what this process says does not come back")
            receiving.result()
        finally:
            await _end(receiving)

    async def _receive(self, channel: str, receive: Callable[[Hint], None]) -> None:
        while True:
            hint = await self._layer.receive(channel)
            self._heard += 1
            if hint.get("origin") != self._process:
                _follow(receive, hint)

    async def _stand_up(self) -> None:
        """Forget the channel and close the connections: who knows what they are worth."""
        if hasattr(self._layer, "close_pools"):
            return  # another layer than ours: its flush would empty Redis
        self._channel = None
        try:
            await _in_time(self._layer.flush)
        except Exception as error:
            log.warning("the channel layer was not left cleanly: %s", _words(error))

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
                log.warning("a hint was not sent: %s", _words(error))
                seated = False
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _send_all(self) -> None:
        self._wake.clear()
        while self._outbox:
            await _in_time(self._outbox.popleft())

    async def _take_seats(self) -> None:
        for group in list(self._groups):
            await _in_time(self._group_add, group)

    async def _group_add(self, group: str) -> None:
        if self._channel and group in self._groups:
            await self._layer.group_add(group, self._channel)

    async def _group_discard(self, group: str) -> None:
        if self._channel and group not in self._groups:
            await self._layer.group_discard(group, self._channel)

    async def close(self) -> None:
        """Leave all groups and close what was opened."""
        try:
            if hasattr(self._layer, "close_pools"):
                await _in_time(self._layer.close_pools)
            elif self.reaches_others:
                # Of the pub/sub layer: it closes what this loop has opened, no more.
                await _in_time(self._layer.flush)
        except Exception as error:
            log.warning("the channel layer was not left cleanly: %s", _words(error))


async def _in_time(work: Callable[..., Any], *args: Any) -> Any:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await work(*args)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task. It is not waited for without a bound: on its way out it may ask a
    layer that does not answer."""
    task.cancel()
    await asyncio.wait({task}, timeout=ANSWER_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # told already, or of no interest any more


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _follow(receive: Callable[[Hint], None], hint: Hint) -> None:
    try:
        receive(hint)
    except Exception:
        # Of a process of another version, say. The next one may be better.
        log.exception("a hint was not followed")
