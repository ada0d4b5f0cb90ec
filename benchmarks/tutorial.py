"""The contrast: a relay as tutorials build it: `python -m benchmarks.tutorial PORT UPSTREAM_PORT`.

A Channels consumer that reads the SDK's typed chunks and sends each delta to the group of its conversation, where every
tab's consumer passes it on. Nobody signs in and nothing is kept. On uvicorn, with the in-memory layer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import django
import uvicorn
from django.conf import settings

UPSTREAM = f"http://127.0.0.1:{sys.argv[2]}/v1" if len(sys.argv) > 2 else ""

if not settings.configured:
    settings.configure(
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        INSTALLED_APPS=["channels"],
    )
    django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from django.urls import path  # noqa: E402
from openai import AsyncOpenAI  # noqa: E402

client = AsyncOpenAI(base_url=UPSTREAM, api_key="none")


class TutorialConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        event = json.loads(text_data or "{}")
        if event["type"] == "send_message":
            self.task = asyncio.create_task(self.answer(event["text"]))

    async def answer(self, question: str) -> None:
        messages: Any = [{"role": "user", "content": question}]
        stream = await client.chat.completions.create(model="bench", messages=messages, stream=True)
        async for chunk in stream:
            if text := chunk.choices[0].delta.content:
                await self.say(text)
        await self.channel_layer.group_send(self.group, {"type": "chat.ended"})

    async def say(self, text: str) -> None:
        await self.channel_layer.group_send(self.group, {"type": "chat.delta", "text": text})

    async def chat_delta(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps({"type": "reply_delta", "text": event["text"]}, separators=(",", ":")))

    async def chat_ended(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps({"type": "reply_ended"}))


consumer: Any = TutorialConsumer.as_asgi()
routes: Any = [path("ws/<str:room>/", consumer)]
application: Any = URLRouter(routes)

if __name__ == "__main__":
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
