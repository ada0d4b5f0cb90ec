"""The floor: the least that a relay can be, without any framework: `python -m benchmarks.floor PORT UPSTREAM_PORT`.

An event stream comes in, its chunks are parsed, and each delta goes out on a WebSocket as JSON with its position. Nobody
signs in, nothing is kept, one viewer has one reply. asyncio's protocols for what comes in, picows for what goes out: what
the product costs beyond this is what it does beyond this.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

import picows
import uvloop


class Upstream(asyncio.Protocol):
    """One question, and the stream of its answer."""

    def __init__(self, question: str, viewer: picows.WSTransport) -> None:
        self.question = question
        self.viewer = viewer
        self.received = b""
        self.end = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        messages = [{"role": "user", "content": self.question}]
        body = json.dumps({"model": "bench", "stream": True, "messages": messages}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self.transport.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def data_received(self, data: bytes) -> None:
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self.receive(line[6:])

    def receive(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self.say({"type": "reply_ended"})
            self.transport.close()
        elif text := json.loads(payload)["choices"][0]["delta"].get("content"):
            start, self.end = self.end, self.end + len(text)
            self.say({"type": "reply_delta", "start": start, "end": self.end, "text": text})

    def say(self, event: dict[str, Any]) -> None:
        self.viewer.send(picows.WSMsgType.TEXT, json.dumps(event, separators=(",", ":")).encode())


class Viewer(picows.WSListener):
    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.asking: asyncio.Task[Any] | None = None

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.TEXT:
            transport.disconnect()
            return
        event = json.loads(frame.get_payload_as_bytes())
        if event["type"] == "send_message":
            loop = asyncio.get_running_loop()
            upstream = loop.create_connection(
                lambda: Upstream(event["text"], transport), "127.0.0.1", self.upstream_port
            )
            self.asking = loop.create_task(upstream)


async def serve(port: int, upstream_port: int) -> None:
    server = await picows.ws_create_server(lambda request: Viewer(upstream_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
