"""An upstream that does as it is told: a small OpenAI-compatible server on the loopback, written by hand on bytes.

    async with Upstream() as upstream:
        upstream.answer(Script(["Hel", "lo"]), too_fast(retry_after="1"))
        ...
        assert upstream.requests[0].closed_at is None

A script is a list of steps, see `tests/scripts.py`. A string is one delta; the other steps wait, break, or send anything
at all. Scripts are taken from the queue, one per request; a rule (`upstream.when`) goes before the queue, and with an
empty queue the server says back what it was told. All requests are kept, `Upstream(keep=100)` keeps the last hundred
that have ended. `python -m tests.upstream --port 9000` runs it as a program; there the
last user message may hold a script: `/script {"deltas": 300, "pace": 0.02}`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeAlias

from tests.scripts import (
    JSON,
    Chunk,
    Data,
    Drop,
    Hold,
    Raw,
    Reason,
    Reset,
    Script,
    Stall,
    Step,
    Wait,
    many,
    phrase,
    refuses,
    said,
    script_in,
)

#: A machine that does four things at once may need it. What has come is not waited for.
WAIT_SECONDS = 30.0


# The record


@dataclass
class Request:
    """What was asked and how it went. Times are of `time.monotonic()`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    arrived_at: float
    upstream: Upstream
    script: Script | None = None
    first_byte_at: float | None = None
    """When the first byte of the answer's head left."""
    closed_at: float | None = None
    """When the client was found to have closed before the answer had ended."""
    ended_at: float | None = None
    """When the answer had ended, in whatever way."""
    spoken: list[tuple[int, float]] = field(default_factory=list)
    """How long `text` was, and when, each time before more of it left."""
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    length: int = 0
    """Of `text`, in characters."""
    texts: list[str] = field(default_factory=list)
    reasonings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What was said so far."""
        return joined(self.texts)

    @property
    def reasoning(self) -> str:
        return joined(self.reasonings)

    def say(self, text: str, reasoning: str) -> None:
        """Before it is sent: what a client has is a prefix of the record."""
        self.texts.append(text)
        self.reasonings.append(reasoning)
        self.length += len(text)
        self.spoken.append((self.length, time.monotonic()))
        self.upstream.tell()

    @cached_property
    def json(self) -> JSON:
        parsed: JSON = json.loads(self.body or b"{}")
        return parsed

    @property
    def model(self) -> str:
        return str(self.json.get("model", ""))

    @property
    def messages(self) -> list[JSON]:
        return list(self.json.get("messages", []))

    @property
    def asked(self) -> str:
        """The last user message."""
        texts = [message["content"] for message in self.messages if message["role"] == "user"]
        return str(texts[-1]) if texts else ""

    def go_on(self) -> None:
        """Ends the `Hold` at which the script stands or to which it will come."""
        self.gate.release()

    async def until_said(self, count: int = 1) -> None:
        """Until so many characters were sent."""
        await self.upstream.until(lambda: self.length >= count)

    async def until_closed(self, seconds: float = WAIT_SECONDS) -> float:
        await self.upstream.until(lambda: self.closed_at is not None, seconds)
        assert self.closed_at is not None
        return self.closed_at

    async def until_ended(self, seconds: float = WAIT_SECONDS) -> None:
        await self.upstream.until(lambda: self.ended_at is not None, seconds)


def joined(pieces: list[str]) -> str:
    """What they say together. They become one piece: a long text is asked for often while it grows."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""


Answer: TypeAlias = Script | Callable[[Request], Script]


def echo(request: Request) -> Script:
    if scripted := script_in(request.asked):
        return scripted
    return Script(re.findall(r"\s*\S+", f"You said: {request.asked}"))


class Gone(Exception):
    """The connection was ended by the script."""


class Upstream:
    """The server. It lives in the running loop; `UpstreamThread` is the one for code without a loop."""

    def __init__(
        self,
        *,
        port: int = 0,
        models: Iterable[str] = ("small", "large"),
        key: str | None = None,
        keep: int | None = None,
    ) -> None:
        self.port = port
        self.models = list(models)
        self.key = key
        self.keep = keep
        self.requests: list[Request] = []
        self.posts: list[Request] = []
        """The requests for completions."""
        self.forgotten = 0
        """How many requests for completions are kept no more."""
        self.queue: deque[Answer] = deque()
        self.rules: list[tuple[Callable[[Request], bool], Answer]] = []
        self.default: Answer = echo
        self.changed = asyncio.Event()
        self.connections: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def add(self, request: Request) -> None:
        self.requests.append(request)
        if request.method == "POST":
            self.posts.append(request)
        self.tell()

    def forget(self) -> None:
        """Keep no more than `keep` of the requests that have ended."""
        if self.keep is None or len(self.requests) < 2 * self.keep:
            return
        old = [request for request in self.requests if request.ended_at is not None]
        dropped = set(map(id, old[: len(old) - self.keep])) if len(old) > self.keep else set()
        self.forgotten += sum(id(request) in dropped for request in self.posts)
        self.requests[:] = [request for request in self.requests if id(request) not in dropped]
        self.posts[:] = [request for request in self.posts if id(request) not in dropped]

    def answer(self, *answers: Answer) -> None:
        """Queues answers, one for each of the next requests for a completion."""
        self.queue.extend(answers)

    def when(self, rule: Callable[[Request], bool], answer: Answer) -> None:
        """Answers every request that the rule fits, before the queue is looked at."""
        self.rules.append((rule, answer))

    def always(self, answer: Answer) -> None:
        """What to say when nothing is queued."""
        self.default = answer

    async def until(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await self.changed.wait()

    async def until_asked(self, count: int = 1, seconds: float = WAIT_SECONDS) -> Request:
        """Until so many completions were asked for in all; the last of them."""
        await self.until(lambda: self.forgotten + len(self.posts) >= count, seconds)
        return self.posts[count - 1 - self.forgotten]

    def tell(self) -> None:
        """Wakes all who wait in `until`."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def start(self) -> None:
        """Also again after `stop`, on the same port."""
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", self.port, limit=2**20)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """From now on connections are refused, and those that were open are closed."""
        if self.server is not None:
            self.server.close()
            for task in list(self.connections):
                task.cancel()
            await asyncio.gather(*self.connections, return_exceptions=True)
            self.server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function with a task of our own: the stream's own task reports a cancellation as an error.
        task = asyncio.create_task(Connection(self, reader, writer).serve())
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    def script_for(self, request: Request) -> Script:
        answer = self.answer_for(request)
        return answer if isinstance(answer, Script) else answer(request)

    def answer_for(self, request: Request) -> Answer:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return refuses(401, "Incorrect API key provided.", "invalid_api_key")
        if request.method == "GET" and request.path.endswith("/models"):
            return self.list_of_models()
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return refuses(404, f"No such address: {request.path}")
        for rule, answer in self.rules:
            if rule(request):
                return answer
        return self.queue.popleft() if self.queue else self.default

    def list_of_models(self) -> Script:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
        body = json.dumps({"object": "list", "data": models}).encode()
        return Script(headers={"Content-Type": "application/json"}, body=body)


class Connection:
    """One connection of a client: reads requests, plays scripts, and notices at once when the client goes."""

    def __init__(self, upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.upstream = upstream
        self.reader = reader
        self.writer = writer
        self.buffer = bytearray()
        self.arrived = asyncio.Event()
        self.closed = False

    async def serve(self) -> None:
        reading = asyncio.create_task(self.read())
        try:
            while request := await self.next_request():
                await self.answer(request, reading)
        except (Gone, ConnectionError):
            pass
        finally:
            reading.cancel()
            self.writer.close()

    async def read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65536):
                self.buffer += data
                self.arrived.set()
        self.closed = True
        self.arrived.set()

    async def next_request(self) -> Request | None:
        head = await self.take_through(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await self.take(int(headers.get("content-length", "0")))
        request = Request(method, path, headers, body, time.monotonic(), self.upstream)
        request.script = self.upstream.script_for(request)
        self.upstream.add(request)
        return request

    async def take_through(self, end: bytes) -> bytes | None:
        while end not in self.buffer:
            if self.closed:
                return None
            await self.more()
        return await self.take(self.buffer.index(end) + len(end))

    async def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if self.closed:
                raise Gone
            await self.more()
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def more(self) -> None:
        self.arrived.clear()
        await self.arrived.wait()

    async def answer(self, request: Request, reading: asyncio.Task[None]) -> None:
        assert request.script is not None
        playing = asyncio.create_task(Player(request, request.script, self.writer).play())
        try:
            await asyncio.wait({playing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done() or isinstance(playing.exception(), ConnectionError):
                request.closed_at = time.monotonic()
                raise Gone
            playing.result()
        finally:
            playing.cancel()
            request.ended_at = time.monotonic()
            self.upstream.tell()
            self.upstream.forget()


class Player:
    """Plays one script on one connection."""

    def __init__(self, request: Request, script: Script, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.script = script
        self.writer = writer
        self.streams = script.body is None and bool(request.json.get("stream"))

    async def play(self) -> None:
        for step in self.script.before:
            await self.do(step)
        if self.script.raw is not None:
            self.request.first_byte_at = time.monotonic()
            await self.write(self.script.raw)
            raise Gone
        if self.streams:
            await self.play_stream()
        else:
            await self.play_body(self.script.body if self.script.body is not None else self.completion())

    async def play_body(self, body: bytes) -> None:
        await self.send_head({"Content-Type": "application/json", "Content-Length": str(len(body))})
        await self.write(body)

    async def play_stream(self) -> None:
        await self.send_head({"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        # A stream that begins with bytes begins with nothing else.
        if self.script.steps and not isinstance(self.script.steps[0], Raw):
            await self.do(Chunk({"role": "assistant", "content": ""}))
        for number, step in enumerate(self.script.steps):
            if number and self.script.pace:
                await asyncio.sleep(self.script.pace)
            await self.do(step)
        if self.script.finish is not None:
            await self.do(Chunk({}, self.script.finish))
        if usage := self.usage():
            await self.do(Data(self.chunk([], usage=usage)))
        if self.script.done:
            await self.do(Data("[DONE]"))
        await self.write(b"0\r\n\r\n")

    async def do(self, step: Step) -> None:
        match step:
            case str():
                await self.do(Chunk({"content": step}))
            case Reason(text, key):
                await self.do(Chunk({key: text}))
            case Chunk(delta, finish_reason, index):
                self.request.say(*said(step))
                choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
                await self.do(Data(self.chunk([choice])))
            case Data(payload):
                words = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
                await self.send(f"data: {words}{self.script.line_end * 2}".encode())
            case Raw(data):
                await self.send(data)
            case _:
                await self.misbehave(step)

    async def misbehave(self, step: Wait | Hold | Stall | Reset | Drop) -> None:
        match step:
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Hold():
                await self.request.gate.acquire()
            case Stall(comments):
                await self.stall(comments)
            case Reset():
                self.reset()
            case Drop():
                raise Gone

    async def stall(self, comments: float | None) -> None:
        while True:
            await asyncio.sleep(comments or 3600.0)
            await self.send(f": keep-alive{self.script.line_end * 2}".encode())

    def reset(self) -> None:
        connection: socket.socket = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the other end was quicker
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise Gone

    async def send_head(self, headers: Mapping[str, str]) -> None:
        status = self.script.status
        lines = [f"HTTP/1.1 {status} {phrase(status)}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **self.script.headers}.items()]
        self.request.first_byte_at = time.monotonic()
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.request.upstream.tell()

    async def send(self, data: bytes) -> None:
        """Part of a chunked body, in pieces of `cut` bytes, each in a packet of its own."""
        # A chunk of no bytes would be the end of the body.
        size = self.script.cut or len(data) or 1
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await self.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if self.script.cut:
                await asyncio.sleep(0)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def usage(self) -> JSON | None:
        if self.script.usage is not None:
            return self.script.usage
        if (self.request.json.get("stream_options") or {}).get("include_usage"):
            return self.count()
        return None

    def count(self) -> JSON:
        asked, answered = len(self.request.body) // 4, len(self.script.text.encode()) // 4
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}

    def chunk(self, choices: list[JSON], **more: Any) -> JSON:
        return {**self.envelope("chat.completion.chunk"), "choices": choices, **more}

    def completion(self) -> bytes:
        self.request.say(self.script.text, self.script.reasoning)
        message = {"role": "assistant", "content": self.script.text}
        choice = {"index": 0, "message": message, "finish_reason": self.script.finish}
        whole = {**self.envelope("chat.completion"), "choices": [choice], "usage": self.script.usage or self.count()}
        return json.dumps(whole, ensure_ascii=False).encode()

    def envelope(self, kind: str) -> JSON:
        return {"id": "chatcmpl-test", "object": kind, "created": 1_700_000_000, "model": self.request.model}


class UpstreamThread:
    """An upstream with a thread and a loop of its own, for tests without a loop."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="upstream")

    def run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(WAIT_SECONDS)

    async def open(self) -> Upstream:
        upstream = Upstream(**self.options)
        await upstream.start()
        return upstream

    def __enter__(self) -> Upstream:
        self.thread.start()
        upstream: Upstream = self.run(self.open())
        self.upstream = upstream
        return upstream

    def __exit__(self, *exc: object) -> None:
        self.run(self.upstream.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def serve(port: int, script: Script | None) -> None:
    async with Upstream(port=port) as upstream:
        if script is not None:
            upstream.always(script)
        print(upstream.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deltas", type=int, default=0, help="answer with so many deltas instead of an echo")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between two deltas")
    options = parser.parse_args()
    script = many(options.deltas, options.pace) if options.deltas else None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, script))


if __name__ == "__main__":
    main()
