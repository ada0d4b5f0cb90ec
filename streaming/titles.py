"""Better titles: after the first reply that is done the model is asked, in the background, what the exchange is about.

The first line of the question is the title at once. This one may fail, in silence, or be lost with its process: nobody
waits for it. It is no reply: it has no message, no run and no lease but the one word in the row of the conversation by
which exactly one process asks, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from django.conf import settings

from conversations.models import Conversation
from conversations.status import Status

from .chunks import DONE, parse_chunk
from .endpoint import Endpoint
from .jobs import Job
from .reply import Reply
from .sse import EventStream
from .threads import DatabaseThreads
from .titling import LONGEST_ANSWER, messages_for, title_in
from .upstreams import Upstreams

log = logging.getLogger(__name__)

#: For the one attempt, with all that a model may think before it answers.
SECONDS_FOR_A_TITLE = 30.0


class Titles:
    """Those that this process asks for. `find` says where to ask for the model of a job, as for its reply."""

    def __init__(
        self, threads: DatabaseThreads, upstreams: Upstreams, find: Callable[[Job], Awaitable[tuple[Endpoint, str]]]
    ) -> None:
        self._threads = threads
        self._upstreams = upstreams
        self._find = find
        self._tasks: set[asyncio.Task[None]] = set()

    def improve(self, job: Job, answer: str) -> None:
        """Ask for a title of an exchange, once it has ended; returns at once."""
        if settings.CHAT.titles and job.wants_title:
            task = asyncio.create_task(self._improve(job, answer), name=f"title {job.conversation_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _improve(self, job: Job, answer: str) -> None:
        try:
            made = await self._threads.run(Conversation.ask_for_title, job.conversation_id)
            if made is None:
                return
            async with asyncio.timeout(SECONDS_FOR_A_TITLE):
                said = await self._ask(job, answer)
            title = title_in(said)
            if title is None:
                log.info("no title for %s: the model answered with %d characters", job.conversation_id, len(said))
            else:
                await self._threads.run(Conversation.take_title, job.conversation_id, title, made)
        except Exception as error:
            # Whatever it is, the conversation has a title already. The words of an error may have those of a person in them.
            log.info("no title for %s: %s", job.conversation_id, type(error).__name__)

    async def _ask(self, job: Job, answer: str) -> str:
        """Return what the model says; nothing where it does not end, or says too much."""
        endpoint, model = await self._find(replace(job, model=settings.CHAT.title_model or job.model))
        upstream = await self._upstreams.at(endpoint.base_url)
        # Without a limit of length: each server calls it otherwise, and a model that thinks would use it up before it speaks.
        request = {"model": model, "messages": messages_for(job.question, answer)}
        reply, events = Reply(), EventStream()
        reply.begin()
        async with upstream.stream(endpoint, request) as stream:
            async for data in stream:
                for payload in events.receive_data(data):
                    if payload == DONE:
                        reply.saw_done = True
                    else:
                        reply.receive_chunk(parse_chunk(payload))
                if reply.saw_done or reply.said["text"].end > LONGEST_ANSWER:
                    break
        return str(reply.said["text"]) if reply.ending().status == Status.DONE else ""

    async def close(self) -> None:
        """Ask no more: a process that ends waits for no title."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
