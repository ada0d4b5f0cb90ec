"""The chore of temporary conversations: those that are open here are looked at, those that nobody looks at are erased."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .hub import Hub

log = logging.getLogger(__name__)

#: Between two looks. Nobody waits for it.
SECONDS_BETWEEN = 10.0
#: After a start, or where this process was asleep: so long those who were cut off have to come back.
SECONDS_TO_COME_BACK = 30.0


class Forgetting:
    """`do(work, *args)` has something done on a database thread where it may write."""

    def __init__(self, hub: Hub, do: Callable[..., Awaitable[Any]]) -> None:
        self._hub = hub
        self._do = do
        self._clock = asyncio.get_running_loop().time
        self._looked_at = self._clock()
        self._calm_at = self._looked_at + SECONDS_TO_COME_BACK

    async def look(self) -> None:
        # With the models, which are not there yet when this module is imported.
        from conversations import temporary

        before, self._looked_at = self._looked_at, self._clock()
        if self._looked_at - before > 2 * SECONDS_BETWEEN:
            self._calm_at = self._looked_at + SECONDS_TO_COME_BACK
        await self._do(temporary.note_looks, self._hub.is_watched)
        if self._looked_at < self._calm_at:
            return
        for pk in await self._do(temporary.load_due):
            # One by one: what is said meanwhile waits for one of them at the most.
            if not self._hub.is_watched(str(pk)) and await self._do(temporary.erase, pk):
                log.info("a temporary conversation was erased")
