"""A reader of an event stream that comes back as an `EventSource` does, and judges what it is told.

It holds no more than the protocol asks for: the `id` of the last event, and the texts. A delta that does not begin where
the text ends, or tells what is there already, is wrong here: behind `Last-Event-ID` nothing may be lost or doubled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import httpx2

Event = dict[str, Any]


class EventReader:
    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url
        self.last_id = ""
        self.comments: list[str] = []
        self.retry: int | None = None
        self.events: list[Event] = []
        self.texts: dict[str, str] = defaultdict(str)
        self.endings: dict[str, Event] = {}
        self.wrongs: list[str] = []
        self.lines: AsyncIterator[str] | None = None

    @contextlib.asynccontextmanager
    async def open(self, query: str = "", **headers: str) -> AsyncIterator[httpx2.Response]:
        """Opens the stream, from the last event on if there was one."""
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        async with self.client.stream("GET", self.url + query, headers=headers) as response:
            self.lines = response.aiter_lines()
            yield response

    async def next(self) -> Event:
        """The next event; EOFError where the stream has ended."""
        assert self.lines is not None
        data, mark = "", None
        async for line in self.lines:
            field, _, value = line.partition(":")
            if not line and data:
                self.last_id = self.last_id if mark is None else mark
                return self.receive(json.loads(data))
            if line and not field:
                self.comments.append(value)
            elif field == "id":
                mark = value.strip()
            elif field == "retry":
                self.retry = int(value)
            elif field == "data":
                data += value.strip()
        raise EOFError

    async def until(self, kind: str, **fields: Any) -> Event:
        wanted = {"type": kind, **fields}.items()
        while not wanted <= (event := await self.next()).items():
            pass
        return event

    async def until_end(self) -> list[Event]:
        """All that comes before the server ends the stream."""
        seen = len(self.events)
        with contextlib.suppress(EOFError):
            while True:
                await self.next()
        return self.events[seen:]

    def receive(self, event: Event) -> Event:
        self.events.append(event)
        if judge := getattr(self, f"receive_{event['type']}", None):
            judge(event)
        return event

    def receive_conversation_snapshot(self, event: Event) -> None:
        for reply in event["replies"]:
            self.receive_reply_snapshot(reply)

    def receive_reply_snapshot(self, event: Event) -> None:
        if not event["text"].startswith(self.texts[event["reply"]]):
            self.wrongs.append(f"{self.texts[event['reply']]!r} was taken back by {event}")
        self.texts[event["reply"]] = event["text"]

    def receive_reply_delta(self, event: Event) -> None:
        if event["part"] != "text":
            return
        if event["start"] != len(self.texts[event["reply"]]):
            self.wrongs.append(f"{event} comes after {len(self.texts[event['reply']])} characters")
        self.texts[event["reply"]] += event["text"]

    def receive_reply_ended(self, event: Event) -> None:
        self.endings[event["reply"]] = event
        text = self.texts[event["reply"]]
        if hashlib.sha256(text.encode()).hexdigest() != event["sha256"]:
            self.wrongs.append(f"the text of {event} is {text!r}")

    def receive_message_created(self, event: Event) -> None:
        message = event["message"]
        if message["role"] == "assistant":
            self.texts[message["id"]] = message["text"]

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]
