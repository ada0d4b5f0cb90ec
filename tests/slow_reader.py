"""A tab on a thin line: it takes so many bytes a second from a socket with next to no buffer of its own.

What a server has sent and this reader has not taken in lies with the server, in the kernel or in the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self, cast

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.tab import Tab

RECEIVE_BUFFER = 4096
BITE_SECONDS = 0.25
#: In /proc/net/tcp.
ESTABLISHED = "01"


class ThinLine:
    """One WebSocket, read at `rate` bytes a second. What is sent into it goes at once."""

    def __init__(self, protocol: ClientProtocol, rate: float) -> None:
        self.protocol = protocol
        self.rate = rate
        self.taken = 0
        self.socket = socket.socket()
        # Before it connects: the window that is offered then comes of it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.setblocking(False)

    async def open(self, headers: dict[str, str]) -> None:
        uri = self.protocol.uri
        await asyncio.get_running_loop().sock_connect(self.socket, (uri.host, uri.port))
        request = self.protocol.connect()
        request.headers.update(headers)
        self.protocol.send_request(request)
        await self._flush()
        while not (events := self.protocol.events_received()):
            await self._take(4096)
        assert isinstance(events[0], Response)
        self.early = events[1:]
        if self.protocol.handshake_exc is not None:
            raise self.protocol.handshake_exc

    async def __aiter__(self) -> AsyncIterator[str]:
        events, self.early = self.early, []
        while True:
            for event in events:
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    yield bytes(event.data).decode()
            if not await self._bite():
                self.socket.close()
                return
            events = self.protocol.events_received()

    async def _bite(self) -> bool:
        began = asyncio.get_running_loop().time()
        taken = await self._take(max(int(min(self.rate * BITE_SECONDS, 65_536)), 1))
        rest = taken / self.rate - (asyncio.get_running_loop().time() - began)
        if rest > 0:
            await asyncio.sleep(rest)
        return taken > 0

    async def _take(self, most: int) -> int:
        try:
            data = await asyncio.get_running_loop().sock_recv(self.socket, most)
        except OSError:
            data = b""
        self.taken += len(data)
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        await self._flush()
        return len(data)

    async def send(self, message: str) -> None:
        self.protocol.send_text(message.encode())
        await self._flush()

    async def _flush(self) -> None:
        with contextlib.suppress(OSError):
            for data in self.protocol.data_to_send():
                if data:
                    await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    @property
    def close_code(self) -> int:
        return self.protocol.close_rcvd.code if self.protocol.close_rcvd else 1006

    @property
    def close_reason(self) -> str:
        return self.protocol.close_rcvd.reason if self.protocol.close_rcvd else ""


class SlowTab(Tab):
    """Reads `rate` bytes a second, until somebody sets another rate; `resume` comes back on a line like any other."""

    def __init__(self, url: str, *, rate: float = 1000.0, **options: Any) -> None:
        super().__init__(url, **options)
        self.rate = rate
        self.line: ThinLine | None = None

    async def open_slowly(self) -> Self:
        self.line = ThinLine(
            ClientProtocol(parse_uri(self.url), origin=cast(Any, self.origin), max_size=None), self.rate
        )
        await self.line.open({"Cookie": self.cookie} if self.cookie else {})
        # It has of a connection what a tab uses.
        self.socket = cast(ClientConnection, self.line)
        self.close_code = None
        self.frames = self.acked = 0
        self.reading = asyncio.create_task(self.read(self.socket))
        return self

    def hurry(self) -> None:
        """Take in from now on whatever comes."""
        assert self.line is not None
        self.line.rate = 1e9


def on_the_way(port: int) -> list[int]:
    """Of each connection to a server here, how many bytes it has sent that the other end's kernel has not taken yet."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = [row for row in rows if int(row[1].split(":")[1], 16) == port and row[3] == ESTABLISHED]
    return [int(row[4].split(":")[0], 16) for row in here]
