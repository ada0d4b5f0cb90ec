"""One POST and its stream, under the clocks: feeds a reply with what comes until its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings

from .chunks import DONE, BadChunk, parse_chunk
from .endpoint import Endpoint, Request, UpstreamError, error_in_stream
from .jobs import Job, request_for
from .models import Run
from .remedies import USUAL, Dialect, Remedy, remedy_for
from .reply import Reply
from .sse import EventStream, EventTooLarge
from .store import Writer
from .timing import Timing

if TYPE_CHECKING:
    from .upstream import Upstream

log = logging.getLogger(__name__)

#: A model that has said it is finished may keep its connection open; we need not.
SECONDS_AFTER_FINISH = 3.0


@dataclass(eq=False)
class Running:
    """One reply of this process that is being waited for."""

    run: Run
    job: Job
    reply: Reply
    writer: Writer
    timing: Timing
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""  # stop, lost or drain: what the event was set for
    clock: asyncio.Timeout | None = None
    last_token: float | None = None
    first_byte: bool = False
    is_counted: bool = False  # the attempt that comes next

    def interrupt(self, why: str) -> None:
        """Wake whoever waits for this reply, wherever that is, exactly once."""
        if not self.stop.is_set():
            self.why = why
            self.stop.set()
            if self.clock is not None and not self.clock.expired():
                self.clock.reschedule(asyncio.get_running_loop().time())


@dataclass(eq=False)
class Question:
    """Whom a reply is asked of, and how: what was changed about it after a refusal is in
    `dialect` and in `remedies`, each of which is tried once."""

    upstream: Upstream
    endpoint: Endpoint
    model: str
    dialect: Dialect = USUAL
    remedies: set[Remedy] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dialect = self.upstream.dialect_of(self.model)

    def request(self, job: Job) -> Request:
        return request_for(job, self.endpoint, self.model, self.dialect)

    def remedy_for(self, error: UpstreamError, job: Job) -> Remedy | None:
        """Return what to change so that it can be asked once more, if anything."""
        found = remedy_for(error.refusal, self.request(job)) if error.refusal else None
        return None if found in self.remedies else found

    def apply(self, remedy: Remedy, job: Job) -> None:
        self.remedies.add(remedy)
        self.dialect = self.dialect.after(remedy, self.request(job))

    def was_understood(self) -> None:
        """The server has begun to answer: from now on it is asked like this at once."""
        if self.remedies:
            self.upstream.remember_dialect(self.model, self.dialect)


async def listen(running: Running, question: Question, gained: Callable[[Writer], None]) -> None:
    """Ask once, and feed the reply until it is done, full, interrupted or cut off.

    `gained` is told whenever there is something to store. Raises UpstreamError.
    """
    events = EventStream()
    endpoint, request = question.endpoint, question.request(running.job)
    try:
        async with clocks(running), question.upstream.stream(endpoint, request) as stream:
            question.was_understood()
            async for data in stream:
                if running.stop.is_set():
                    break  # given back, perhaps: then it must not begin
                receive_first_byte(running, gained)
                receive(running, events.receive_data(data), endpoint, gained)
                if running.reply.saw_done or running.reply.is_full:
                    break
    except (BadChunk, EventTooLarge) as error:
        log.warning("%s: %s", endpoint.name, error)
        raise UpstreamError("garbage", "The model's server sent something that is no reply.") from error


def receive_first_byte(running: Running, gained: Callable[[Writer], None]) -> None:
    """From here on the request is not repeated, whoever owns the reply: that it is
    streaming has to be stored, even if nothing to show follows for a while."""
    if not running.first_byte:
        running.first_byte = True
        running.reply.begin()
        gained(running.writer)


def receive(
    running: Running,
    payloads: list[bytes],
    endpoint: Endpoint,
    gained: Callable[[Writer], None],
) -> None:
    """Take in the data of events; raises BadChunk, or UpstreamError for an error."""
    reply = running.reply
    spoke = False
    for payload in payloads:
        if payload == DONE:
            reply.saw_done = True
            break
        chunk = parse_chunk(payload)
        spoke = reply.receive_chunk(chunk) or spoke
        if chunk.error:
            raise error_in_stream(chunk.error, endpoint, reply.has_spoken)
    if spoke:
        running.last_token = now = asyncio.get_running_loop().time()
        if running.timing.spoke is None:
            said = reply.said
            running.timing.receive(said["reasoning"].end > 0, said["text"].end > len(reply.prefix), now)
        gained(running.writer)


@asynccontextmanager
async def clocks(running: Running) -> AsyncIterator[None]:
    """Run the clocks of one attempt. They count tokens, not bytes: keep-alives and
    empty deltas hold nothing open. Raises UpstreamError when one runs out."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    running.last_token = None
    try:
        async with asyncio.timeout(None) as running.clock:
            watching = loop.create_task(watch(running, began))
            try:
                if running.stop.is_set():
                    running.clock.reschedule(began)
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if not running.stop.is_set() and not running.reply.finish_reason:
            raise clock_ran_out(running, loop.time() - began) from None
    finally:
        running.clock = None


async def watch(running: Running, began: float) -> None:
    """Look now and then at when a token came, which is cheaper than to turn a clock
    with each of them, and end the attempt when its time has come."""
    loop = asyncio.get_running_loop()
    while (left := deadline(running, began) - loop.time()) > 0:  # noqa: ASYNC110 - time is the event
        await asyncio.sleep(min(left, 1.0))
    if running.clock is not None and not running.clock.expired():
        running.clock.reschedule(loop.time())


def deadline(running: Running, began: float) -> float:
    """Return when the attempt has lasted too long, as things stand now. Pure."""
    chat = settings.CHAT
    total = began + chat.total_seconds
    if running.last_token is None:
        return min(total, began + chat.first_token_seconds)
    silence = chat.silence_seconds
    if running.reply.finish_reason:
        silence = min(silence, SECONDS_AFTER_FINISH)
    return min(total, running.last_token + silence)


def clock_ran_out(running: Running, lasted: float) -> UpstreamError:
    if lasted >= settings.CHAT.total_seconds:
        return UpstreamError("too_long", "The reply took too long.")
    if running.last_token is None:
        return UpstreamError("slow_start", "The model said nothing for too long.", retryable=True)
    return UpstreamError("silent", "The model fell silent in the middle of the reply.", retryable=True)
