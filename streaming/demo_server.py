"""The server of the built-in demo model: small, OpenAI-compatible, inside the product.

With no key configured it answers, over real HTTP on the loopback, so that a fresh installation shows how everything works and
takes the same way as with any provider.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from .demo import MODEL, SECONDS_PER_DELTA, answer_to, deltas, title_for
from .prompt import estimated_tokens
from .titling import question_in


class Server:
    """The demo's endpoint, on a port of the loopback that the system chooses."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._starting = asyncio.Lock()

    async def base_url(self) -> str:
        """Return its address, and start it if it does not run yet."""
        async with self._starting:
            if self._runner is None:
                await self._start()
        return self._url

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        app.router.add_get("/v1/models", list_models)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self._url = f"http://{host}:{port}/v1"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


async def list_models(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


async def complete(request: web.Request) -> web.StreamResponse:
    """Stream a chat completion as https://platform.openai.com/docs/api-reference/chat
    describes it."""
    try:
        body = await request.json()
        messages = body["messages"]
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    except (ValueError, KeyError, TypeError, StopIteration):
        error = {"message": "a chat completion needs messages", "code": "bad_request"}
        return web.json_response({"error": error}, status=400)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    untitled = question_in(messages)
    answer = answer_to(str(question)) if untitled is None else title_for(untitled)
    for delta in deltas(answer):
        await _send(response, {"choices": [_choice({"content": delta})]})
        await asyncio.sleep(SECONDS_PER_DELTA)
    await _send(response, {"choices": [_choice({}, "stop")]})
    asked = sum(estimated_tokens(str(m.get("content", ""))) for m in messages)
    said = estimated_tokens(answer)
    usage = {"prompt_tokens": asked, "completion_tokens": said}
    await _send(response, {"choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


async def _send(response: web.StreamResponse, fields: dict[str, Any]) -> None:
    chunk = {
        "id": "demo",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
        **fields,
    }
    data = json.dumps(chunk, ensure_ascii=False)
    await response.write(f"data: {data}\n\n".encode())
