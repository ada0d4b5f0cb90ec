"""Runs replies: from the claim of the lease to the one ending. A loop without opinions.

What a chunk means and how a reply ends is decided in `reply`, when to try again in
`retry`, what is committed in `store`; here is only the waiting.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from conversations.models import Change, Conversation, Message, Piece, record_change
from conversations.status import Status
from conversations.wire import time_as_json

from . import catalogue, demo, process, retry
from .chunks import DONE, BadChunk, parse_chunk
from .events import Hint
from .hub import Hub
from .models import Run, lease_end
from .prompt import Prompt, Turn, build_prompt, estimated_tokens
from .reply import Ending, Reply
from .sse import EventStream, EventTooLarge
from .store import Store, Writer
from .threads import DatabaseThreads
from .upstream import Endpoint, UpstreamError, Upstreams, error_in_stream

log = logging.getLogger(__name__)

#: Messages that are looked at for a context; the budget of tokens ends it before.
LONGEST_CONTEXT = 400
#: A model that has said it is finished may keep its connection open; we need not.
SECONDS_AFTER_FINISH = 3.0
#: A queued reply that young is left to the process which took the question.
SECONDS_TO_START = 2.0

STOPPED = Ending(Status.STOPPED)
LEFT_BEHIND = (
    "server_gone",
    "The server that was writing this reply went away. What it had said is kept.",
)
SHUT_DOWN = ("restart", "The server was restarted in the middle of the reply.")


@dataclass(frozen=True)
class Job:
    """What has to be known in order to ask for a reply."""

    conversation_id: UUID
    model: str
    prefix: str
    prompt: Prompt
    endpoints: list[Endpoint]


@dataclass(eq=False)
class Running:
    """One reply of this process that is being waited for."""

    run: Run
    job: Job
    reply: Reply
    writer: Writer
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""  # stop, lost or drain: what the event was set for
    clock: asyncio.Timeout | None = None
    last_token: float | None = None
    first_byte: bool = False

    def interrupt(self, why: str) -> None:
        """Wake whoever waits for this reply, wherever that is, exactly once."""
        if not self.stop.is_set():
            self.why = why
            self.stop.set()
            if self.clock is not None and not self.clock.expired():
                self.clock.reschedule(asyncio.get_running_loop().time())


class Runner:
    def __init__(self, name: str, store: Store, hub: Hub, threads: DatabaseThreads) -> None:
        self._name = name
        self._store = store
        self._hub = hub
        self._threads = threads
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, Running] = {}
        self._upstreams = Upstreams(settings.CHAT.connect_seconds)
        self._demo = demo.Server()
        self._draining = False

    # Starting and stopping

    def start_reply(self, reply_id: int) -> None:
        """Run a queued reply if nobody else does; returns at once."""
        if not self._draining and reply_id not in self._tasks:
            task = asyncio.create_task(self._run(reply_id), name=f"reply {reply_id}")
            self._tasks[reply_id] = task
            task.add_done_callback(lambda task: self._ended(reply_id, task))

    def _ended(self, reply_id: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(reply_id, None)
        self._running.pop(reply_id, None)
        self._hub.end(reply_id)
        if not task.cancelled() and (error := task.exception()):
            # A bug of ours. The lease runs out, and the sweep ends the reply honestly.
            log.error("reply %s broke off: %s", reply_id, error, exc_info=error)

    def stop_reply(self, reply_id: int) -> None:
        """Follow a stop that is in the row already: here, or in another process."""
        if running := self._running.get(reply_id):
            running.interrupt("stop")
        else:
            self._hub.say_to_processes({"type": Hint.STOP, "reply": reply_id})
            # Nobody may have begun it: whoever can claim it ends it.
            self.start_reply(reply_id)

    def receive_hint(self, hint: dict[str, Any]) -> bool:
        if hint.get("type") != Hint.STOP:
            return False
        if running := self._running.get(hint["reply"]):
            running.interrupt("stop")
        return True

    async def drain(self, seconds: float) -> None:
        """Start nothing more, give what runs `seconds` to end, then end it with what it
        has said. What has not begun to speak is given back for others to run."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for running in list(self._running.values()):
            running.interrupt("drain")
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=5)

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._upstreams.close()
        await self._demo.close()

    # Chores

    async def renew_leases(self) -> None:
        """Keep the leases of what runs here; see who was asked to stop by a hint that
        was lost, and whose lease is gone. On the store's thread: it locks rows in the
        same order as the store does, and both wait for the same database."""
        running_now = list(self._running.items())
        if not running_now:
            return
        seen = await self._store.in_thread(renew_leases, self._name)
        for reply_id, running in running_now:
            epoch, stop_requested = seen.get(reply_id, (None, False))
            if epoch != running.run.epoch:
                running.interrupt("lost")
            elif stop_requested:
                running.interrupt("stop")

    async def take_over(self) -> None:
        """Run what is queued without an owner; end what a dead owner has left behind."""
        if self._draining:
            return
        for reply_id in await self._threads.run(load_unowned, self._name):
            self.start_reply(reply_id)

    # One reply

    async def _run(self, reply_id: int) -> None:
        run = await self._threads.run(claim, reply_id, self._name)
        if run is None:
            return
        if run.reply.status == Status.STREAMING:
            await self._end_left_behind(run)
            return
        running = await self._prepare(run)
        ending = await self._ask(running)
        if running.why == "lost":
            return
        if running.why == "drain" and not running.first_byte:
            await self._threads.run(give_back, run)
            return
        await self._finish(running, ending)

    async def _end_left_behind(self, run: Run) -> None:
        """The owner died while the reply was streaming. What is stored is what anybody
        saw; it is never asked for a second time."""
        reply = await self._threads.run(load_reply, run)
        writer = Writer(run, run.reply.conversation_id, reply, lambda: None)
        stopped = run.stop_requested
        await self._store.finish(writer, STOPPED if stopped else reply.broken_off(*LEFT_BEHIND))

    async def _prepare(self, run: Run) -> Running:
        job = await self._threads.run(load_job, run)
        reply = Reply(job.prefix, settings.CHAT.reply_characters)
        writer = Writer(run, job.conversation_id, reply, lambda: None)
        running = Running(run, job, reply, writer)
        writer.on_lost = lambda: running.interrupt("lost")
        self._running[run.reply_id] = running
        self._hub.begin(writer)
        if run.stop_requested:
            running.interrupt("stop")
        return running

    async def _ask(self, running: Running) -> Ending:
        """Ask until there is an ending: once, or more often as long as not a byte came."""
        reply = running.reply
        try:
            endpoint, model = await self._endpoint(running.job)
        except UpstreamError as error:
            return reply.broken_off(error.code, error.detail, error.retryable)
        while not running.stop.is_set():
            if not await self._threads.run(count_attempt, running.run, endpoint, model):
                running.interrupt("lost")
                break
            try:
                return await self._listen(running, endpoint, model)
            except UpstreamError as error:
                wait = None if running.stop.is_set() else self._wait(running, error)
                if wait is None:
                    return self._stopped(running) or reply.broken_off(error.code, error.detail, error.retryable)
                await self._rest(running, wait, error)
        return self._stopped(running) or STOPPED

    def _stopped(self, running: Running) -> Ending | None:
        if not running.stop.is_set():
            return None
        return running.reply.broken_off(*SHUT_DOWN) if running.why == "drain" else STOPPED

    def _wait(self, running: Running, error: UpstreamError) -> float | None:
        """Return the seconds until the next try, or None where there is none."""
        chat = settings.CHAT
        attempt = running.run.attempts
        if running.first_byte or not error.retryable or attempt >= chat.attempts:
            return None
        return retry.seconds_to_wait(
            attempt,
            error.retry_after,
            first=chat.retry_seconds,
            longest=chat.retry_max_seconds,
            chance=random.random(),  # noqa: S311 - spreads load, guards nothing
        )

    async def _rest(self, running: Running, wait: float, error: UpstreamError) -> None:
        until = timezone.now() + timedelta(seconds=wait)
        run = running.run
        await self._threads.run(note_wait, run, until, error.detail)
        self._hub.waiting(running.job.conversation_id, run.reply_id, error.detail, time_as_json(until))
        try:
            async with asyncio.timeout(wait):
                await running.stop.wait()
        except TimeoutError:
            pass

    async def _listen(self, running: Running, endpoint: Endpoint, model: str) -> Ending:
        """One POST: feed the reply with what comes until its end. Raises UpstreamError."""
        reply = running.reply
        events = EventStream()
        request = request_for(running.job, endpoint, model)
        upstream = self._upstreams.at(endpoint.base_url)
        try:
            async with self._clocks(running), upstream.stream(endpoint, request) as stream:
                async for data in stream:
                    self._receive_first_byte(running)
                    self._receive(running, events.receive_data(data), endpoint)
                    if reply.saw_done or reply.is_full:
                        break
        except (BadChunk, EventTooLarge) as error:
            log.warning("%s: %s", endpoint.name, error)
            raise UpstreamError("garbage", "The model's server sent something that is no reply.") from error
        if stopped := self._stopped(running):
            return stopped
        return reply.ending()

    def _receive(self, running: Running, payloads: list[bytes], endpoint: Endpoint) -> None:
        reply = running.reply
        for payload in payloads:
            if payload == DONE:
                reply.saw_done = True
                break
            chunk = parse_chunk(payload)
            if chunk.error:
                raise error_in_stream(chunk.error, endpoint)
            if reply.receive_chunk(chunk):
                running.last_token = asyncio.get_running_loop().time()
                self._store.gained(running.writer)

    def _receive_first_byte(self, running: Running) -> None:
        """From here on the request is not repeated, whoever owns the reply: that it is
        streaming has to be stored, even if nothing to show follows for a while."""
        if not running.first_byte:
            running.first_byte = True
            running.reply.begin()
            self._store.gained(running.writer)

    @asynccontextmanager
    async def _clocks(self, running: Running) -> AsyncIterator[None]:
        """Run the clocks of one attempt. They count tokens, not bytes: keep-alives and
        empty deltas hold nothing open. Raises UpstreamError when one runs out."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        running.last_token = None
        try:
            async with asyncio.timeout(None) as running.clock:
                watch = loop.create_task(self._watch(running, began))
                try:
                    if running.stop.is_set():
                        running.clock.reschedule(began)
                    yield
                finally:
                    watch.cancel()
        except TimeoutError:
            if not running.stop.is_set() and not running.reply.finish_reason:
                raise clock_ran_out(running, loop.time() - began) from None
        finally:
            running.clock = None

    async def _watch(self, running: Running, began: float) -> None:
        # Looks now and then at when a token came, instead of turning a clock with each.
        loop = asyncio.get_running_loop()
        while (left := deadline(running, began) - loop.time()) > 0:  # noqa: ASYNC110 - time is the event
            await asyncio.sleep(min(left, 1.0))
        if running.clock is not None and not running.clock.expired():
            running.clock.reschedule(loop.time())

    async def _endpoint(self, job: Job) -> tuple[Endpoint, str]:
        """Return where to ask for the model of a job, and what it is called there."""
        for endpoint in job.endpoints:
            if endpoint.base_url and catalogue.is_stale(endpoint):
                await self._ask_for_models(endpoint)
        found = catalogue.find(job.model, job.endpoints)
        if found is None:
            name = job.model or "—"
            raise UpstreamError("model_not_found", f"There is no model {name} here.")
        endpoint, model = found
        if not endpoint.base_url:
            endpoint = Endpoint(endpoint.name, await self._demo.base_url())
        return endpoint, model

    async def _ask_for_models(self, endpoint: Endpoint) -> None:
        try:
            models = await self._upstreams.at(endpoint.base_url).models(endpoint)
        except UpstreamError:
            models = []  # logged there; the request itself will tell the person
        catalogue.remember_models(endpoint, models)

    async def refresh_models(self) -> None:
        """Ask the servers without a list what they offer, so that pages can show it."""
        for endpoint in await self._threads.run(catalogue.endpoints):
            if endpoint.base_url and catalogue.is_stale(endpoint):
                await self._ask_for_models(endpoint)

    async def _finish(self, running: Running, ending: Ending) -> None:
        run, reply = running.run, running.reply
        text = str(reply.said["text"])[len(reply.prefix) :]
        if reply.usage is not None:
            run.prompt_tokens = reply.usage.prompt_tokens
            run.completion_tokens = reply.usage.completion_tokens
        elif reply.has_spoken:
            run.prompt_tokens = running.job.prompt.tokens
            run.completion_tokens = estimated_tokens(text + str(reply.said["reasoning"]))
            run.estimated = True
        await self._store.finish(running.writer, ending)


def request_for(job: Job, endpoint: Endpoint, model: str) -> dict[str, Any]:
    """Return the body of the POST, without `stream`."""
    request: dict[str, Any] = {
        "model": model,
        "messages": job.prompt.messages,
        "stream_options": {"include_usage": True},
    }
    if settings.CHAT.max_length:
        request |= endpoint.length_limit(settings.CHAT.max_length)
    return request


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
    chat = settings.CHAT
    if lasted >= chat.total_seconds:
        return UpstreamError("too_long", f"The reply took longer than {chat.total_seconds:g} seconds.")
    if running.last_token is None:
        return UpstreamError(
            "slow_start",
            f"The model said nothing for {chat.first_token_seconds:g} seconds.",
            retryable=True,
        )
    return UpstreamError(
        "silent",
        f"The model fell silent for {chat.silence_seconds:g} seconds.",
        retryable=True,
    )


# What the runner reads and writes. These run on database threads.


def claim(reply_id: int, name: str) -> Run | None:
    run = Run.claim(reply_id, name, dead_owners(name))
    # The status is read under the lease: from here on nobody else changes it.
    return Run.objects.select_related("reply").get(pk=run.pk) if run else None


def dead_owners(name: str) -> list[str]:
    owners = Run.objects.unended().exclude(owner__in=["", name])
    names = owners.values_list("owner", flat=True).distinct()
    return [owner for owner in names if process.is_dead(owner)]


def load_unowned(name: str) -> list[int]:
    """Return the running replies that nobody runs."""
    free = Q(pk__in=Run.objects.unowned(dead_owners(name)).values("reply_id"))
    young = timezone.now() - timedelta(seconds=SECONDS_TO_START)
    lost = Q(run=None, created_at__lt=young)
    found = Message.objects.running().filter(free | lost)
    return list(found.values_list("pk", flat=True)[:100])


def load_job(run: Run) -> Job:
    reply = run.reply
    conversation = Conversation.objects.get(pk=reply.conversation_id)
    branch = Message.objects.path_to(reply.parent_id, LONGEST_CONTEXT)
    turns = [Turn(*row) for row in branch.values_list("pk", "role", "text")]
    complete = not turns or len(turns) < LONGEST_CONTEXT
    prefix = str(load_reply(run).said["text"])
    prompt = build_prompt(
        turns,
        settings.CHAT.context_tokens,
        system=conversation.system_prompt or settings.CHAT.system_prompt,
        prefix=prefix,
        complete=complete,
    )
    if prompt.sight is not None:
        note_sight(run, prompt.sight)
    return Job(conversation.pk, reply.model, prefix, prompt, catalogue.endpoints())


def load_reply(run: Run) -> Reply:
    """Return a reply as far as it is stored."""
    parts: dict[str, list[str]] = {"text": [], "reasoning": []}
    pieces = Piece.objects.filter(reply_id=run.reply_id).order_by("start")
    for part, text in pieces.values_list("part", "text"):
        parts[part].append(text)
    reply = Reply()
    reply.begin()
    reply.said["text"].append("".join(parts["text"]))
    reply.said["reasoning"].append("".join(parts["reasoning"]))
    return reply


def note_sight(run: Run, sight: int) -> None:
    """The model is not shown the whole branch: let everybody see from where on."""
    with transaction.atomic():
        changed = Message.objects.running().filter(pk=run.reply_id)
        if changed.update(sight_id=sight):
            record_change(
                run.reply.conversation_id,
                Change.Kind.MESSAGE_CHANGED,
                message_id=run.reply_id,
            )


def count_attempt(run: Run, endpoint: Endpoint, model: str) -> bool:
    """Count a POST before it is made. False where the lease is lost."""
    mine = run.mine().update(
        attempts=F("attempts") + 1,
        waiting_until=None,
        provider_id=endpoint.provider_id,
        api_key_id=endpoint.key_id,
    )
    if not mine:
        return False
    run.attempts += 1
    reply = Message.objects.running().filter(pk=run.reply_id)
    reply.update(model=model[:200], provider=endpoint.name[:200])
    return True


def note_wait(run: Run, until: Any, reason: str) -> None:
    run.mine().update(waiting_until=until, waiting_reason=reason[:300])


def give_back(run: Run) -> None:
    """Nothing was said yet: let another process run it, at once."""
    run.mine().update(owner="", lease_until=None)


def renew_leases(name: str) -> dict[int, tuple[int, bool]]:
    """Renew what this process owns; return `{reply: (epoch, stop requested)}`."""
    mine = Run.objects.owned_by(name)
    mine.update(lease_until=lease_end())
    rows = mine.values_list("reply_id", "epoch", "stop_requested")
    return {reply_id: (epoch, stop) for reply_id, epoch, stop in rows}


def request_stop(reply_id: int) -> None:
    """Write down that a reply is to end. Where nobody has begun it, it ends here."""
    if not Message.objects.running().filter(pk=reply_id).exists():
        return
    Run.objects.get_or_create(reply_id=reply_id)
    Run.objects.unended().filter(pk=reply_id).update(stop_requested=True)
