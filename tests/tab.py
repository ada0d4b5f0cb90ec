"""One open page, as the protocol wants it: follows positions and versions, acknowledges, and judges what it is told.

A `Tab` believes nothing. What it saw of a reply has to stay a prefix of all that comes later, versions have no gaps, and
at the end the text has the length and the sha256 of `reply_ended`; what is wrong is kept in `wrongs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

#: A machine that does four things at once may need it. What has come is not waited for.
WAIT_SECONDS = 30.0
ACK_FRAMES = 32
ACK_SECONDS = 0.25
PARTS = ("text", "reasoning")
RUNNING = ("queued", "streaming")


class Event(dict[str, Any]):
    """What came in one frame, and when."""

    def __init__(self, frame: str) -> None:
        super().__init__(json.loads(frame))
        self.at = time.monotonic()
        self.size = len(frame.encode())


class Asked(NamedTuple):
    message: str
    reply: str


class CommandRefused(Exception):
    def __init__(self, answer: Event) -> None:
        super().__init__(f"{answer['code']}: {answer['detail']}")
        self.answer = answer
        self.code: str = answer["code"]


class Tab:
    """A WebSocket client that is signed in by its cookie. Made by the fixtures `open_tab` and `alice_tab`.

    `acks=False` is a tab that never acknowledges; `loses` says which events are thrown away on their way, as if they
    had never come.
    """

    def __init__(
        self,
        url: str,
        *,
        cookie: str = "",
        origin: str | None = None,
        acks: bool = True,
        loses: Callable[[Event], bool] = lambda event: False,
    ) -> None:
        self.url = url
        self.cookie = cookie
        self.origin = origin
        self.acks = acks
        self.loses = loses
        self.refs = itertools.count(1)
        self.changed = asyncio.Event()
        self.reading: asyncio.Task[None] | None = None
        self.socket: ClientConnection | None = None
        self.close_code: int | None = None
        self.close_reason = ""

        self.events: list[Event] = []
        self.version = 0
        self.conversation: dict[str, Any] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.lengths: dict[str, dict[str, int]] = {}  # of ended messages that came without their ends
        self.texts: dict[str, str] = {}
        self.reasonings: dict[str, str] = {}
        self.statuses: dict[str, str] = {}
        self.endings: dict[str, list[Event]] = defaultdict(list)
        self.found_ended: dict[str, dict[str, Any]] = {}  # replies that a snapshot told as ended
        self.repairs = 0
        self.wrongs: list[str] = []

    # The connection

    async def open(self, *, version: int | None = None) -> Self:
        headers = {"Cookie": self.cookie} if self.cookie else {}
        query = "" if version is None else f"?version={version}"
        self.socket = await connect(
            self.url + query,
            origin=self.origin,  # type: ignore[arg-type]
            additional_headers=headers,
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        )
        self.close_code = None
        self.frames = self.acked = 0
        self.reading = asyncio.create_task(self.read(self.socket))
        return self

    async def resume(self) -> None:
        """Comes back as a page does: what changed since the version it holds, and each reply from where it stands."""
        await self.open(version=self.version)
        await self.sync()

    async def close(self) -> None:
        if self.socket is not None:
            await self.socket.close()
            await self.until_closed()

    async def cut(self) -> None:
        """Loses the connection as a cable does: nothing is said, nothing more is received."""
        assert self.socket is not None
        assert self.reading is not None
        self.reading.cancel()
        self.socket.transport.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await self.reading
        await self.socket.wait_closed()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def read(self, socket: ClientConnection) -> None:
        acking = asyncio.create_task(self.ack_in_time(socket))
        try:
            async for frame in socket:
                assert isinstance(frame, str)
                self.frames += 1
                await self.receive(Event(frame))
                if self.frames - self.acked >= ACK_FRAMES:
                    await self.ack(socket)
        except ConnectionClosed:
            pass
        finally:
            acking.cancel()
            self.close_code, self.close_reason = socket.close_code, socket.close_reason or ""
            self.tell()

    async def ack_in_time(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(ACK_SECONDS)
                if self.frames > self.acked:
                    await self.ack(socket)

    async def ack(self, socket: ClientConnection) -> None:
        if self.acks:
            self.acked = self.frames
            with contextlib.suppress(ConnectionClosed):
                await socket.send(json.dumps({"type": "ack", "frames": self.frames}))

    # Down

    async def send(self, kind: str, **fields: Any) -> str:
        """Sends a command with a fresh `ref`, which is returned."""
        ref = f"ref-{next(self.refs)}"
        await self.send_frame(json.dumps({"type": kind, "ref": ref, **fields}))
        return ref

    async def send_frame(self, frame: str | bytes) -> None:
        assert self.socket is not None
        await self.socket.send(frame)

    async def command(self, kind: str, **fields: Any) -> Event:
        """Sends a command and returns its answer; raises CommandRefused."""
        ref = await self.send(kind, **fields)
        answer = await self.until_event(lambda event: event.get("ref") == ref)
        if answer["type"] == "command_refused":
            raise CommandRefused(answer)
        return answer

    async def ask(self, text: str, **fields: Any) -> Asked:
        """Sends a message; the ids of the message and of its reply."""
        fields = {"client_id": str(uuid.uuid4()), **fields}
        answer = await self.command("send_message", text=text, **fields)
        return Asked(answer["message"], answer["reply"])

    async def sync(self) -> None:
        growing = [reply for reply, status in self.statuses.items() if status in RUNNING or self.lacks_some(reply)]
        await self.send("sync", version=self.version, replies={reply: self.have(reply) for reply in growing})

    def lacks_some(self, message: str) -> bool:
        """Did it come with the beginnings of its texts, and is the rest still on its way?"""
        return any(self.have(message)[part] < length for part, length in self.lengths.get(message, {}).items())

    async def sync_reply(self, reply: str) -> None:
        await self.send("sync", replies={reply: self.have(reply)})

    def have(self, reply: str) -> dict[str, int]:
        return {"text": len(self.texts.get(reply, "")), "reasoning": len(self.reasonings.get(reply, ""))}

    # Up

    async def receive(self, event: Event) -> None:
        if not self.loses(event):
            self.events.append(event)
            if "version" in event:
                await self.receive_version(event)
            if apply := getattr(self, f"receive_{event['type']}", None):
                await apply(event)
            self.tell()

    async def receive_version(self, event: Event) -> None:
        version = event["version"]
        if event["type"] == "conversation_snapshot" or version == self.version + 1:
            self.version = version
        elif version > self.version:
            self.repairs += 1
            await self.send("sync", version=self.version)

    async def receive_conversation_snapshot(self, event: Event) -> None:
        self.conversation = event["conversation"]
        for message in event["messages"]:
            self.take_message(message)
            if message["status"] not in RUNNING:
                self.found_ended[message["id"]] = message
        for reply in event["replies"]:
            await self.receive_reply_snapshot(reply)

    async def receive_message_created(self, event: Event) -> None:
        self.take_message(event["message"])

    async def receive_message_changed(self, event: Event) -> None:
        self.take_message(event["message"])

    async def receive_conversation_changed(self, event: Event) -> None:
        self.conversation |= {name: value for name, value in event.items() if name not in ("type", "version")}

    def take_message(self, message: dict[str, Any]) -> None:
        known = message["id"]
        has_ended = self.statuses.get(known) not in (None, *RUNNING)
        # Of a reply on another branch a tab may be told the end, and only later that it is there.
        if not has_ended or known not in self.messages:
            self.messages[known] = message
            self.statuses[known] = self.statuses[known] if has_ended else message["status"]
            if message["status"] not in RUNNING:
                self.take_text(known, "text", message["text"])
                self.take_text(known, "reasoning", message["reasoning"])
            if "length" in message:
                self.lengths[known] = {"text": message["length"], "reasoning": message["reasoning_length"]}
                if (len(message["text"]), len(message["reasoning"])) != (message["text_end"], message["reasoning_end"]):
                    self.wrongs.append(f"the ends of {known} are not the lengths of its parts")

    async def receive_reply_snapshot(self, event: dict[str, Any]) -> None:
        self.statuses[event["reply"]] = event["status"]
        for part in PARTS:
            if len(event[part]) != event[f"{part}_end"]:
                self.wrongs.append(f"{part}_end of {event} is not the length of {part}")
            self.take_text(event["reply"], part, event[part])

    def take_text(self, reply: str, part: str, text: str) -> None:
        texts = self.part(part)
        seen = texts.get(reply, "")
        if not text.startswith(seen) and not seen.startswith(text):
            self.wrongs.append(f"{part} of {reply} was {seen!r} and is {text!r}")
        texts[reply] = max(seen, text, key=len)

    async def receive_reply_delta(self, event: Event) -> None:
        texts, reply = self.part(event["part"]), event["reply"]
        have = len(texts.get(reply, ""))
        if event["end"] - event["start"] != len(event["text"]):
            self.wrongs.append(f"the positions of {event} are not the length of its text")
        if event["start"] == have:
            texts[reply] = texts.get(reply, "") + event["text"]
            self.statuses.setdefault(reply, "streaming")
        elif event["end"] > have:
            self.repairs += 1
            await self.sync_reply(reply)

    async def receive_reply_ended(self, event: Event) -> None:
        reply = event["reply"]
        self.statuses[reply] = event["status"]
        self.endings[reply].append(event)
        if not self.is_whole(reply):
            self.repairs += 1
            if len(self.texts.get(reply, "")) >= event["length"]:
                self.texts[reply] = ""
            await self.sync_reply(reply)

    def is_whole(self, reply: str) -> bool:
        """Is the text what `reply_ended` says it is?"""
        text, ended = self.texts.get(reply, ""), self.endings[reply][-1]
        return (len(text), hashlib.sha256(text.encode()).hexdigest()) == (ended["length"], ended["sha256"])

    def part(self, name: str) -> dict[str, str]:
        return self.texts if name == "text" else self.reasonings

    # Waiting

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await self.changed.wait()
        except TimeoutError:
            last = "\n".join(str(event)[:300] for event in self.events[-8:])
            raise TimeoutError(f"waited {seconds} s in vain; closed: {self.close_code}; last events:\n{last}") from None

    async def until_event(self, fits: Callable[[Event], bool], seconds: float = WAIT_SECONDS) -> Event:
        await self.until(lambda: any(map(fits, self.events)) or self.close_code is not None, seconds)
        found = next(filter(fits, self.events), None)
        if found is None:
            raise ConnectionError(f"closed with {self.close_code} {self.close_reason!r} before the event came")
        return found

    async def wait_for(self, kind: str, *, seconds: float = WAIT_SECONDS, **fields: Any) -> Event:
        """The first event of this type with these fields, come already or yet to come."""
        wanted = {"type": kind, **fields}.items()
        return await self.until_event(lambda event: wanted <= event.items(), seconds)

    async def until_said(self, reply: str, count: int = 1) -> str:
        """Until so many characters of a reply are here; all that is here."""
        await self.until(lambda: len(self.texts.get(reply, "")) >= count)
        return self.texts[reply]

    async def until_ended(self, reply: str, seconds: float = WAIT_SECONDS) -> Event:
        """Until a reply has ended and its text is whole; its `reply_ended`, or what a snapshot has of that: who falls
        behind the room while it is being told the first one is given another."""
        await self.until(lambda: self.is_told_whole(reply), seconds)
        if self.endings[reply]:
            return self.endings[reply][-1]
        return Event(json.dumps({**self.found_ended[reply], "type": "reply_ended", "reply": reply}))

    def is_told_whole(self, reply: str) -> bool:
        if self.endings[reply]:
            return self.is_whole(reply)
        return reply in self.found_ended and not self.lacks_some(reply)

    async def until_closed(self, seconds: float = WAIT_SECONDS) -> int:
        assert self.reading is not None
        await self.until(lambda: self.close_code is not None, seconds)
        assert self.close_code is not None
        return self.close_code

    def of_type(self, kind: str, **fields: Any) -> list[Event]:
        wanted = {"type": kind, **fields}.items()
        return [event for event in self.events if wanted <= event.items()]
