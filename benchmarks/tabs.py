"""Tabs that cost next to nothing: they write down what came and when, and read it afterwards."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
import picows

from benchmarks.upstream import DELTA
from benchmarks.world import Person
from tests.services import Server

#: As the protocol wants it.
FRAMES_PER_ACK = 32
ACK_NANOSECONDS = 250_000_000

DELTA_FRAME = b'{"type":"reply_delta"'
SIDEBAR_FRAME = b'{"type":"sidebar_changed"'


class Event(msgspec.Struct):
    """What of an event matters here."""

    type: str
    ref: int | str | None = None
    reply: str | None = None
    text: str = ""
    start: int | None = None
    end: int | None = None
    code: str = ""


_decode = msgspec.json.Decoder(Event).decode


@dataclass
class Heard:
    """What one tab was told of one reply: delays in milliseconds, and what was wrong."""

    delays: list[float] = field(default_factory=list)
    characters: int = 0
    #: On the wire, with the heads of the frames.
    size: int = 0
    frames: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0

    @property
    def wrong(self) -> int:
        return self.lost + self.doubled + self.reordered


class BenchTab(picows.WSListener):
    """One open page."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.count = self.acked = self.acked_at = 0
        self.refs = itertools.count(1)
        self.answers: dict[Any, asyncio.Future[Event]] = {}
        self.snapshot = asyncio.Event()
        self.spoken = asyncio.Event()
        self.ended = asyncio.Event()
        self.sent_at = 0
        self.first_at: int | None = None
        self.is_open = False

    @classmethod
    async def open(cls, server: Server, person: Person, path: str | None = None) -> Self:
        """Open a page of the product and wait until it is told where things stand."""
        path = f"/ws/conversations/{person.conversation}/" if path is None else path
        headers = {"Cookie": person.cookie, "Origin": f"http://127.0.0.1:{server.port}"}
        tab = await cls.connect(f"ws://127.0.0.1:{server.port}{path}", headers)
        if path.startswith("/ws/conversations"):
            await asyncio.wait_for(tab.snapshot.wait(), 60)
        return tab

    @classmethod
    async def connect(cls, url: str, headers: dict[str, str] | None = None) -> Self:
        _, tab = await picows.ws_connect(
            cls, url, extra_headers=headers or {}, enable_auto_pong=True, websocket_handshake_timeout=60
        )
        assert isinstance(tab, cls)
        return tab

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport, self.is_open = transport, True

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.is_open = False
        for answer in self.answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("closed"))

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        at = time.monotonic_ns()
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()
            return
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        self.count += 1
        if payload.startswith(DELTA_FRAME):
            self.frames.append((at, payload))
            if self.first_at is None:
                self.first_at = at
                self.spoken.set()
        elif not payload.startswith(SIDEBAR_FRAME):
            self.receive(_decode(payload))
        if self.count - self.acked >= FRAMES_PER_ACK or at - self.acked_at > ACK_NANOSECONDS:
            self.acked, self.acked_at = self.count, at
            self.send({"type": "ack", "frames": self.count})

    def receive(self, event: Event) -> None:
        if event.type == "conversation_snapshot":
            self.snapshot.set()
        elif event.type == "reply_ended":
            self.ended.set()
        elif event.ref is not None and (answer := self.answers.pop(event.ref, None)):
            answer.set_result(event)

    def send(self, event: dict[str, Any]) -> None:
        if self.is_open:
            self.transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(event))

    async def ask(self, text: str) -> Event:
        """Press Send, and return the answer."""
        self.begin()
        ref = next(self.refs)
        answer = self.answers[ref] = asyncio.get_running_loop().create_future()
        self.sent_at = time.monotonic_ns()
        client_id = f"00000000-0000-4000-8000-{self.sent_at % 10**12:012d}"
        self.send({"type": "send_message", "ref": ref, "client_id": client_id, "text": text})
        found: Event = await answer
        return found

    def begin(self) -> None:
        """Forget what came so far: the next reply is a new one."""
        self.frames.clear()
        self.first_at = None
        self.spoken.clear()
        self.ended.clear()

    @property
    def first_token(self) -> float:
        """Milliseconds from Send to the first words."""
        assert self.first_at is not None
        return (self.first_at - self.sent_at) / 1e6

    def heard(self, deltas: int) -> Heard:
        """Return what came of a reply that had so many deltas."""
        heard, have, seen = Heard(), 0, -1
        for at, payload in self.frames:
            event = _decode(payload)
            heard.frames += 1
            heard.size += len(payload) + (2 if len(payload) < 126 else 4)
            heard.characters += len(event.text)
            if event.start is not None:
                heard.doubled += event.start < have
                heard.lost += event.start > have
                have = event.start + len(event.text)
            for place in range(0, len(event.text), DELTA):
                number, stamp = event.text[place : place + DELTA].split()
                heard.delays.append((at - int(stamp, 16)) / 1e6)
                heard.doubled += int(number) == seen
                heard.reordered += int(number) < seen
                heard.lost += max(int(number) - seen - 1, 0)
                seen = max(int(number), seen)
        heard.lost += max(deltas - 1 - seen, 0)
        return heard

    def delays_between(self, first: int, last: int) -> list[float]:
        """Return how late the deltas of some of the frames were, in milliseconds."""
        some = BenchTab()
        some.frames = self.frames[first:last]
        return some.heard(0).delays

    def close(self) -> None:
        if self.is_open:
            self.transport.send_close()
            self.transport.disconnect()


async def until_ended(tabs: Iterable[BenchTab], seconds: float) -> int:
    """Wait for the ends of replies; how many did not come in time."""
    waiting = [asyncio.ensure_future(tab.ended.wait()) for tab in tabs]
    _, late = await asyncio.wait(waiting, timeout=seconds)
    for each in late:
        each.cancel()
    return len(late)
