"""The connection under an event stream, as far as the server lets an application see it.

A reader that does not read may not cost more than others. uvicorn waits in `send` while
its buffer is full, for ever if need be; daphne buffers without end. So an event stream
asks its line whether there is room, and cuts it where nothing moves.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Any

log = logging.getLogger(__name__)

#: How long somebody who may not stay has to take in what is on its way.
GOODBYE_SECONDS = 0.5


class Line:
    """Under a server that shows nothing: always has room, and cannot be cut."""

    async def room(self) -> None:
        """Wait until the server would take more."""

    @property
    def held(self) -> int:
        """How many bytes wait in the server, as far as it tells."""
        return 0

    @property
    def socket(self) -> Any:
        """The socket, or what else has its descriptor."""
        return None

    @property
    def untaken(self) -> int:
        """How many bytes the other end has not taken: while that falls, somebody reads."""
        return self.held + _in_kernel(self.socket)

    def cut(self) -> None:
        """End it now. What is on its way is lost."""


class UvicornLine(Line):
    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    @property
    def held(self) -> int:
        return self._transport.get_write_buffer_size()

    @property
    def socket(self) -> Any:
        return self._transport.get_extra_info("socket")

    def cut(self) -> None:
        self._transport.abort()


class DaphneLine(Line):
    """Twisted tells a producer when its buffer is full and when it is empty again."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        if self._request.producer is None and self._request.channel is not None:
            self._request.registerProducer(self, True)
        await self._room.wait()

    @property
    def socket(self) -> Any:
        return self._request.channel and self._request.channel.transport.getHandle()

    def cut(self) -> None:
        if self._request.channel is not None:
            self._request.channel.transport.abortConnection()

    # What Twisted calls

    def pauseProducing(self) -> None:  # noqa: N802
        self._room.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._room.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._room.set()


def _in_kernel(socket: Any) -> int:
    """A kernel takes megabytes from a server at once and hands them over little by little:
    whether somebody reads slowly or not at all shows in what it still has."""
    try:
        return int.from_bytes(fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (AttributeError, OSError, ValueError):
        return 0  # closed by now


def line_under(send: Any) -> Line:
    """Return the line behind the `send` that a server has given to an application."""
    if isinstance(send, partial) and hasattr(send.args[0], "registerProducer"):
        return DaphneLine(send.args[0])
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None and hasattr(transport, "get_write_buffer_size"):
        return UvicornLine(transport)
    return Line()


class Watch:
    """Cuts a line where nothing moves for `seconds`, or for a moment once it is to end."""

    def __init__(self, line: Line, seconds: float) -> None:
        self._line = line
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    async def over(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Pass chunks on to the server, and look while it holds one of them up."""
        loop = asyncio.get_running_loop()
        async for chunk in chunks:
            self._timer = loop.call_later(self._seconds, self._look, self._line.untaken)
            try:
                yield chunk
                await self._line.room()
            finally:
                self._timer.cancel()
                self._timer = None

    def hurry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._line.cut)

    def _look(self, untaken: int) -> None:
        now = self._line.untaken
        if now < untaken:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look, now)
        else:
            log.info("an event stream was cut: nothing was read for %.0f s", self._seconds)
            self._line.cut()
