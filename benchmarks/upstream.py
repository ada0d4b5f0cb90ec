"""A model's server that keeps time: `python -m benchmarks.upstream PORT`.

Each reply comes in deltas of 24 characters, so many a second; the question says how many and how fast. A delta carries its
number and the moment in which it left, so whoever receives it can tell how late it is, and whether one is missing. Other
questions ask for a text of `texts.py`: all but its last tokens come at once, and these one by one. Plain asyncio without any
framework: what it costs must not hide what the relays cost.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

from benchmarks.texts import TOKEN, text

#: Characters of a delta: six of its number, sixteen of the nanoseconds of the monotonic clock, two blanks.
DELTA = 24
QUESTION = re.compile(rb"deltas=(\d+) rate=(\d+)")
READING = re.compile(rb"text=(\w+) last=(\d+) rate=(\d+)")
#: Of a text, what comes at once: so many characters in a delta, so many of them a second, and then a rest of so many deltas.
LEAD, LEAD_RATE, REST = 400, 100, 200
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
MODELS = json.dumps({"object": "list", "data": [{"id": "bench", "object": "model"}]}).encode()
#: As large as those of the real ones.
BEFORE = (
    b'data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,'
    b'"model":"bench","service_tier":"default","system_fingerprint":"fp_fc9f1d7035","choices":[{"index":0,"delta":'
    b'{"content":"'
)
AFTER = b'"},"logprobs":null,"finish_reason":null}]}\n\n'
END = (
    b'data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,'
    b'"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def question(deltas: int, rate: int) -> str:
    """What to ask for a reply of so many deltas at so many a second."""
    return f"deltas={deltas} rate={rate}"


def reading(name: str, last: int, rate: int) -> str:
    """What to ask for one of the texts, of which so many tokens come one by one at so many a second."""
    return f"text={name} last={last} rate={rate}"


def delta(number: int) -> bytes:
    return b"%06d %016x " % (number, time.monotonic_ns())


class Connection(asyncio.Protocol):
    """One connection, which may bring several questions one after the other."""

    def __init__(self) -> None:
        self.received = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are transports without being of that class.
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length is not None and len(body) < int(length[1]):
            return
        self.received = b""
        if head.startswith(b"GET"):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            self.transport.write(b"Content-Length: %d\r\n\r\n%s" % (len(MODELS), MODELS))
            return
        self.transport.write(HEAD)
        if asked := READING.findall(body):
            name, last, rate = asked[-1]
            self.read(text(name.decode()), int(last), int(rate))
            return
        # The newest question stands at the end of the prompt.
        deltas, rate = QUESTION.findall(body)[-1]
        self.deltas, self.pause = int(deltas), 1 / int(rate)
        self.number, self.began = 0, self.loop.time()
        self.speak()

    def speak(self) -> None:
        self.chunk(BEFORE + delta(self.number) + AFTER)
        self.number += 1
        if self.number < self.deltas:
            # By the clock, not by the last delta: who is late catches up.
            self.timer = self.loop.call_at(self.began + self.number * self.pause, self.speak)
        else:
            self.finish()

    def read(self, words: str, last: int, rate: int) -> None:
        begin, now = len(words) - last * TOKEN, self.loop.time()
        lead = [words[at : min(at + LEAD, begin)] for at in range(0, begin, LEAD)]
        tokens = [words[at : at + TOKEN] for at in range(begin, len(words), TOKEN)]
        for number, words in enumerate(lead):
            self.loop.call_at(now + number / LEAD_RATE, self.say, words)
        begun = now + (len(lead) + REST) / LEAD_RATE
        for number, words in enumerate(tokens):
            self.loop.call_at(begun + number / rate, self.say, words)
        self.loop.call_at(begun + len(tokens) / rate, self.finish)

    def say(self, words: str) -> None:
        self.chunk(BEFORE + json.dumps(words)[1:-1].encode() + AFTER)

    def finish(self) -> None:
        self.chunk(END)
        self.transport.write(b"0\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
