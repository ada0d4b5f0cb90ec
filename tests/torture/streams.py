"""A tab that has no socket: it reads the event stream and posts its commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any, Self

import httpx2

from tests.tab import CommandRefused, Event
from tests.torture.clients import ANSWER_SECONDS, OPEN_SECONDS, ServerLike, TortureTab

TOKEN = "t" * 32
#: What a status says that a close code says on a socket.
CODES = {401: 4401, 404: 4404}


class StreamTab(TortureTab):
    """Comes back with the `id` of the last event, which says where it stands in everything."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.last_id = ""
        self.awake = asyncio.Event()
        self.awake.set()
        self.client: httpx2.AsyncClient | None = None
        self.response: httpx2.Response | None = None

    def turn_to(self, server: ServerLike, conversation: str) -> None:
        self.url = f"{server.url}/conversations/{conversation}/"
        self.origin = server.url

    def new_client(self) -> httpx2.AsyncClient:
        headers = {
            "Cookie": f"{self.cookie}; csrftoken={TOKEN}",
            "X-CSRFToken": TOKEN,
            "Origin": self.origin or "",
            "Referer": self.url,
        }
        timeout = httpx2.Timeout(OPEN_SECONDS, read=None)
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=timeout)

    async def open(self, *, version: int | None = None) -> Self:
        await self.hang_up()
        self.connections += 1
        self.client = self.new_client()
        self.close_code = None
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        async with asyncio.timeout(OPEN_SECONDS):
            response = await self.client.send(self.client.build_request("GET", "events/", headers=headers), stream=True)
        if response.status_code != 200:
            self.close_code = CODES.get(response.status_code, 1013)
            await self.hang_up()
            raise ConnectionError(f"the event stream was refused with {response.status_code}")
        self.opened_at, self.after = time.monotonic(), 0.0
        self.response = response
        self.reading = asyncio.create_task(self.read_stream(response))
        return self

    async def resume(self) -> None:
        await self.open()
        await self.know_branch()

    async def read_stream(self, response: httpx2.Response) -> None:
        data, mark = "", None
        try:
            async for line in response.aiter_lines():
                await self.awake.wait()
                name, _, value = line.partition(":")
                if name == "id":
                    mark = value.strip()
                elif name == "data":
                    data += value.strip()
                elif not line and data:
                    self.last_id = self.last_id if mark is None else mark
                    event, data, mark = Event(data), "", None
                    await self.receive(event)
        except (httpx2.HTTPError, OSError):
            pass
        finally:
            if self.close_code is None:
                self.close_code = 1006
            self.tell()

    async def receive_bye(self, event: Event) -> None:
        self.after = (event.get("after_ms") or 0) / 1000
        self.close_code = event.get("code", 1012)

    async def send(self, kind: str, **fields: Any) -> str:
        """There is nothing to be said on an event stream: who wants to be told anew comes anew."""
        self.last_id = ""
        self.close_code = 1000
        self.tell()
        return ""

    async def command(self, kind: str, **fields: Any) -> Event:
        async with asyncio.timeout(ANSWER_SECONDS), self.new_client() as client:
            response = await client.post("commands/", content=json.dumps({"type": kind, **fields}))
        answer = Event(response.text) if response.headers.get("content-type") == "application/json" else Event("{}")
        if response.status_code == 200:
            return answer
        answer.setdefault("code", str(response.status_code))
        answer.setdefault("detail", "")
        raise CommandRefused(answer)

    def pause(self) -> None:
        self.awake.clear()

    def go_on(self) -> None:
        self.awake.set()

    async def cut(self) -> None:
        await self.hang_up()
        self.tell()

    async def close(self) -> None:
        await self.hang_up()
        self.tell()

    async def hang_up(self) -> None:
        if self.reading is not None:
            self.reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.reading
            self.reading = None
        if self.response is not None:
            await self.response.aclose()
        if self.client is not None:
            # One that was refused or never answered has a connection all the same.
            await self.client.aclose()
        self.client = self.response = None
