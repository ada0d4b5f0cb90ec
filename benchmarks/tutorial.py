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
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.urls import path
from openai import AsyncOpenAI


class TutorialConsumer(AsyncWebsocketConsumer):
    client: AsyncOpenAI

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
        stream = await self.client.chat.completions.create(model="bench", messages=messages, stream=True)
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


def serve(port: int, upstream_port: int) -> None:
    settings.configure(
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        INSTALLED_APPS=["channels"],
    )
    django.setup()
    TutorialConsumer.client = AsyncOpenAI(base_url=f"http://127.0.0.1:{upstream_port}/v1", api_key="none")
    consumer: Any = TutorialConsumer.as_asgi()
    routes: Any = [path("ws/<str:room>/", consumer)]
    application: Any = URLRouter(routes)
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
