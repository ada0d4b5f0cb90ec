"""The servers that this process asks, and the demo: made when they are first needed, kept as long as it lives.

What talks to them takes most of a second to import, the SDK above all. Nobody who opens a page need wait for that, so it is
done a moment after the start, on a thread, or with the first question.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from .threads import DatabaseThreads

if TYPE_CHECKING:
    from .demo_server import Server
    from .upstream import Upstream


class Upstreams:
    def __init__(self, connect_seconds: float, threads: DatabaseThreads) -> None:
        self._connect_seconds = connect_seconds
        self._threads = threads
        self._known: dict[str, Upstream] = {}
        self._demo: Server | None = None

    async def load(self) -> None:
        """Import what is needed for asking. Another time it costs nothing."""
        await self._threads.run(_load)

    async def at(self, base_url: str) -> Upstream:
        """Return the server with this address."""
        if base_url not in self._known:
            await self.load()
            from .upstream import Upstream

            # Somebody else may have waited for the same import.
            self._known.setdefault(base_url, Upstream(base_url, self._connect_seconds))
        return self._known[base_url]

    async def demo_url(self) -> str:
        """Return the address of the demo, which is started if it does not run yet."""
        if self._demo is None:
            await self.load()
        return await self._demo_server().base_url()

    def _demo_server(self) -> Server:
        from .demo_server import Server

        if self._demo is None:
            self._demo = Server()
        return self._demo

    async def close(self) -> None:
        for upstream in self._known.values():
            await upstream.close()
        self._known.clear()
        if self._demo is not None:
            await self._demo.close()


def _load() -> None:
    from . import demo_server, upstream  # noqa: F401 - the one is only loaded

    if upstream.certificates.cache_info().currsize == 0:
        upstream.certificates()
        # Modules are no garbage, and need not be looked through for some.
        gc.freeze()
