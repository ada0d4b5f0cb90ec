"""A proxy between a browser and the product that passes HTTP on and does to WebSockets what some networks do."""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import Literal, Self

#: What becomes of a request for a WebSocket: passed on; refused with 403, 426 or 400; never answered; answered and cut at once;
#: answered, and then nothing comes through.
Manner = Literal["pass", "refuse", "hang", "cut", "swallow"]


class Proxy:
    """Listens on the loopback. `manner` may be changed at any time, and holds for those who come then."""

    def __init__(self, url: str, manner: Manner = "pass", status: int = 403) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.server_address = host, int(port)
        self.manner = manner
        self.status = status
        self.sockets = 0
        self.requests: list[str] = []
        self.connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.listener = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.listener.close()
        await self.cut_all()

    async def cut_all(self) -> None:
        """Cuts all connections, as a network does that goes away."""
        connections = list(self.connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def asked(self, path: str) -> list[str]:
        """The requests whose path begins so."""
        return [request for request in self.requests if request.split(" ")[1].startswith(path)]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            await self.serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(task)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request to a connection, so that each is seen: the answer closes it."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b"\r\n", 1)[0].decode())
        is_socket = re.search(rb"(?i)\r\nupgrade: *websocket", head) is not None
        if not is_socket:
            head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self.sockets += is_socket
        if is_socket and self.manner == "refuse":
            writer.write(b"HTTP/1.1 %d No sockets here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
            await writer.drain()
        elif is_socket and self.manner == "hang":
            await asyncio.Event().wait()
        else:
            await self.pass_on(head, reader, writer, self.manner if is_socket else "pass")

    async def pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, manner: Manner
    ) -> None:
        there, to_there = await asyncio.open_connection(*self.server_address)
        try:
            to_there.write(head)
            if manner in ("cut", "swallow"):
                writer.write(await there.readuntil(b"\r\n\r\n"))
                await writer.drain()
                await (asyncio.sleep(0.05) if manner == "cut" else asyncio.Event().wait())
            else:
                await self.pump_both(reader, to_there, there, writer)
        finally:
            to_there.transport.abort()

    async def pump_both(
        self,
        reader: asyncio.StreamReader,
        to_there: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Until the first of both ends."""
        ways = {asyncio.ensure_future(pump(reader, to_there)), asyncio.ensure_future(pump(there, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(OSError):
                await writer.drain()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
