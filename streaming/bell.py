"""How somebody who waits is woken."""

from __future__ import annotations

import asyncio


class Bell:
    """An `asyncio.Event` for one task that waits. That of the library has a queue for many, and there is a bell for each
    socket: this one takes a sixth of the memory."""

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        """Return at once where it was set since it was cleared, else when it is."""
        if not self._is_set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
