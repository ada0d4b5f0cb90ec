"""A line between a tab and the product that can go dead without a word, as networks do, and come back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit

from tests.tab import Tab


class Line:
    """Passes bytes on in both directions while it is up. While it is down none of them arrives, and nobody is told."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.direct = tab.url, tab.origin
        self.up = asyncio.Event()
        self.up.set()
        self.ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        """From now on the tab opens its sockets through this line."""
        self.listener = await asyncio.start_server(self.accept, "127.0.0.1", 0, limit=1024)
        there = urlsplit(self.tab.url)
        self.address = there.hostname, there.port
        here = f"127.0.0.1:{self.listener.sockets[0].getsockname()[1]}"
        self.tab.url, self.tab.origin = there._replace(netloc=here).geturl(), f"http://{here}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.repair()
        self.listener.close()
        for end in self.ends:
            end.transport.abort()
        await asyncio.sleep(0)

    def go_dead(self) -> None:
        self.up.clear()

    def repair(self) -> None:
        self.up.set()

    def go_round(self) -> None:
        """The next socket of the tab is opened without this line."""
        self.tab.url, self.tab.origin = self.direct

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(*self.address, limit=1024)
        self.ends |= {writer, to_there}
        with contextlib.suppress(OSError):
            await asyncio.gather(self.pass_on(reader, to_there), self.pass_on(there, writer))

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1024):
                await self.up.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
