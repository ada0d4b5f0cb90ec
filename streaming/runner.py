"""Runs replies: from the claim of the lease to the one ending. A loop without opinions.

What a chunk means and how a reply ends is decided in `reply`, when to try again in
`retry`, what is committed in `store`; here is only the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import Error
from django.utils import timezone

from conversations.status import Status
from conversations.wire import time_as_json

from . import catalogue, leases, retry
from .attempt import Question, Running, listen
from .duty import WEB, Duty
from .endpoint import Endpoint, UpstreamError
from .events import Hint
from .hub import Hub
from .jobs import Job, Ready, load_job, load_reply, note_sight, shortened
from .models import Run
from .prompt import estimated_tokens
from .refusals import TOO_LONG
from .remedies import Remedy
from .reply import Ending, Reply
from .store import Store, Writer
from .threads import DatabaseThreads
from .timing import Timing
from .titles import Titles
from .upstreams import Upstreams

log = logging.getLogger(__name__)

#: How long a reply may take to be stored after it was told to end, in a process that ends.
SECONDS_TO_LET_GO = 5.0
#: Looks at what nobody runs are a second apart; after a gap so long, or nearly as long as a lease, something was wrong.
LONGEST_GAP = 3.0
#: How long owners are then left to renew their leases; they try at least every two seconds.
SECONDS_TO_RENEW = 5.0

#: After the start: the first page is there by then.
SECONDS_UNTIL_READY = 1.0

STOPPED = Ending(Status.STOPPED)
LEFT_BEHIND = (
    "server_gone",
    "The server that was writing this reply went away. What it had said is kept.",
)
OUR_FAULT = ("internal", "Something went wrong on this server.")
TOO_LONG_EVEN_SO = "The conversation is too long for this model, also without its oldest messages."
NOT_UNTIL = "The server takes no more questions until %(when)s."
SHUT_DOWN = ("restart", "The server was restarted in the middle of the reply.")


class Runner:
    def __init__(self, name: str, store: Store, hub: Hub, threads: DatabaseThreads, duty: Duty = WEB) -> None:
        self._name = name
        self._duty = duty
        self._store = store
        self._hub = hub
        self._threads = threads
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, Running] = {}
        self._upstreams = Upstreams(settings.CHAT.connect_seconds, threads)
        self._titles = Titles(threads, self._upstreams, self._endpoint)
        self._draining = False
        self._drain_clock: asyncio.Timeout | None = None
        #: Called after each look at what nobody runs: a sign of life.
        self.on_look: Callable[[], None] = lambda: None
        self._looked_at = asyncio.get_running_loop().time()
        self._calm_at = self._looked_at

    # Starting and stopping

    def start_reply(self, reply_id: int) -> None:
        """Run a queued reply if nobody else does; returns at once."""
        if not self._draining and reply_id not in self._tasks:
            self._start(reply_id, None)

    def _start(self, reply_id: int, ready: Ready | None) -> None:
        task = asyncio.create_task(self._run(reply_id, ready), name=f"reply {reply_id}")
        self._tasks[reply_id] = task
        task.add_done_callback(lambda task: self._ended(reply_id, task))

    def _ended(self, reply_id: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(reply_id, None)
        self._running.pop(reply_id, None)
        self._hub.end(reply_id)
        if not task.cancelled() and (error := task.exception()):
            # Not even an end could be stored. The lease runs out, and the sweep ends it.
            log.error("reply %s broke off: %s", reply_id, error, exc_info=error)

    def stop_reply(self, reply_id: int) -> None:
        """Follow a stop that is in the row already: here, or in another process."""
        if running := self._running.get(reply_id):
            running.interrupt("stop")
        else:
            self._hub.say_to_processes({"type": Hint.STOP, "reply": reply_id})
            # Nobody may have begun it: whoever can claim it ends it.
            self.start_reply(reply_id)

    @property
    def takes_new(self) -> bool:
        """Does it run what is queued here from now on?"""
        return self._duty.takes_new and not self._draining

    def reply_queued(self, reply_id: int, ready: Ready | None = None) -> None:
        """A reply was queued here: run it, or let others know of it. What is `ready` is owned here; who was asked to end
        meanwhile gives it back."""
        if ready is not None and reply_id not in self._tasks:
            self._start(reply_id, ready)
        elif self._draining or not self._duty.takes_new:
            self._offer(reply_id)
        else:
            self.start_reply(reply_id)

    def _offer(self, reply_id: int) -> None:
        self._hub.say_to_processes({"type": Hint.QUEUED, "reply": reply_id})

    def receive_hint(self, hint: dict[str, Any]) -> bool:
        if hint.get("type") == Hint.QUEUED:
            if self._duty.takes_new:
                self.start_reply(hint["reply"])
            return True
        if hint.get("type") != Hint.STOP:
            return False
        if running := self._running.get(hint["reply"]):
            running.interrupt("stop")
        return True

    async def drain(self, seconds: float) -> None:
        """Start nothing more. Give back at once what has not begun to speak, for others to
        run; give the rest `seconds` to end, then end it with what it has said."""
        self._draining = True
        await self._titles.close()
        for running in list(self._running.values()):
            if not running.first_byte:
                running.interrupt("drain")
        log.info("asked to end: %d replies have %g s to do so", len(self._tasks), seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as self._drain_clock:
                await self._until_idle()
        self._drain_clock = None
        for running in list(self._running.values()):
            running.interrupt("drain")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_LET_GO):
                await self._until_idle()

    async def _until_idle(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def hurry(self) -> None:
        """Wait no longer for replies to end by themselves."""
        if self._drain_clock is not None and not self._drain_clock.expired():
            self._drain_clock.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._titles.close()
        await self._upstreams.close()

    # Chores

    async def get_ready(self) -> None:
        """Load what asks models, once those who wait for a page have it."""
        await asyncio.sleep(SECONDS_UNTIL_READY)
        await self._upstreams.load()

    async def renew_leases(self) -> None:
        """Keep the leases of what runs here; see who was asked to stop by a hint that
        was lost, and whose lease is gone. On the store's thread: it locks rows in the
        same order as the store does, and both wait for the same database."""
        running_now = list(self._running.items())
        if not running_now:
            return
        replies = [reply_id for reply_id, _ in running_now]
        seen = await self._store.in_thread(leases.renew_leases, self._name, replies)
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
        for reply_id in await self._look_for_unowned():
            if not self._duty.takes_new:
                log.warning("no worker runs reply %s: it is done here", reply_id)
            self.start_reply(reply_id)

    async def _look_for_unowned(self) -> list[int]:
        """Where the database was away for as long as a lease lasts, or this process asleep,
        all leases have run out, and those who hold them may be well: for a moment they
        are left to renew them."""
        loop = asyncio.get_running_loop()
        calm = loop.time() >= self._calm_at
        found = await self._threads.run(
            leases.load_unowned, self._name, list(self._tasks), self._duty, also_lapsed=calm
        )
        self.on_look()
        before, self._looked_at = self._looked_at, loop.time()
        if self._looked_at - before < max(settings.CHAT.lease_seconds - 2, LONGEST_GAP):
            return found
        self._leave_time_to_renew()
        return []

    def _leave_time_to_renew(self) -> None:
        self._calm_at = asyncio.get_running_loop().time() + SECONDS_TO_RENEW

    # One reply

    async def _run(self, reply_id: int, ready: Ready | None) -> None:
        run = ready.run if ready else await self._claim(reply_id)
        if run is None:
            return
        if run.reply.status == Status.STREAMING:
            await self._end_left_behind(run)
            return
        try:
            running = await self._prepare(run, ready)
        except Error:
            raise  # the next sweep tries it again
        except Exception:
            log.exception("reply %s cannot be begun", reply_id)
            await self._end_before_it_began(run)
            return
        try:
            ending = await self._ask(running)
        except Exception:
            # A bug of ours, or a database that is away: still an honest end.
            log.exception("reply %s broke off", reply_id)
            ending = running.reply.broken_off(*OUR_FAULT)
        if running.why == "lost":
            return
        if running.why == "drain" and not running.first_byte:
            await self._threads.insist(leases.give_back, run)
            self._offer(reply_id)
            return
        await self._finish(running, ending)

    async def _claim(self, reply_id: int) -> Run | None:
        try:
            return await self._threads.run(leases.claim, reply_id, self._name)
        except leases.WaitedTooLong:
            self._leave_time_to_renew()
            return None

    async def _end_left_behind(self, run: Run) -> None:
        """The owner died while the reply was streaming. What is stored is what anybody
        saw; it is never asked for a second time."""
        reply = await self._threads.run(load_reply, run)
        writer = Writer(run, run.reply.conversation_id, reply, lambda: None)
        stopped = run.stop_requested
        await self._store.finish(writer, STOPPED if stopped else reply.broken_off(*LEFT_BEHIND))

    async def _end_before_it_began(self, run: Run) -> None:
        """What cannot be begun now cannot be later: tried again and again it would be
        waited for for ever."""
        stored = await self._threads.run(load_reply, run)
        reply = Reply(str(stored.said["text"]))
        writer = Writer(run, run.reply.conversation_id, reply, lambda: None)
        await self._store.finish(writer, reply.broken_off(*OUR_FAULT))

    async def _prepare(self, run: Run, ready: Ready | None) -> Running:
        job = ready.job if ready else None
        if job is None:
            job = await self._threads.insist(load_job, run)
        reply = Reply(job.prefix, settings.CHAT.reply_characters)
        writer = Writer(run, job.conversation_id, reply, lambda: None)
        waited = 0.0 if ready else (timezone.now() - run.started_at).total_seconds()
        timing = Timing(asyncio.get_running_loop().time() - max(waited, 0.0))
        running = Running(run, job, reply, writer, timing, is_counted=ready is not None and ready.is_counted)
        writer.on_lost = lambda: running.interrupt("lost")
        self._running[run.reply_id] = running
        self._hub.begin(writer)
        if run.stop_requested:
            running.interrupt("stop")
        elif self._draining:
            running.interrupt("drain")
        return running

    async def _ask(self, running: Running) -> Ending:
        """Ask until there is an ending: once, or more often as long as not a byte came."""
        reply = running.reply
        await self._learn_models(running)
        if stopped := self._stopped(running):
            return stopped
        try:
            endpoint, model = await self._endpoint(running.job)
        except UpstreamError as error:
            return reply.broken_off(error.code, error.detail, error.retryable)
        question = Question(await self._upstreams.at(endpoint.base_url), endpoint, model)
        while not running.stop.is_set():
            if not running.is_counted and not await self._count(running, endpoint, model):
                break
            running.is_counted = False
            try:
                await listen(running, question, self._store.gained)
                return self._stopped(running) or reply.ending()
            except UpstreamError as error:
                if await self._remedy(running, question, error):
                    continue
                wait = None if running.stop.is_set() else self._wait(running, error)
                if wait is None:
                    detail = self._last_words(question, error)
                    return self._stopped(running) or reply.broken_off(error.code, detail, error.retryable)
                await self._rest(running, wait, error)
        return self._stopped(running) or STOPPED

    async def _count(self, running: Running, endpoint: Endpoint, model: str) -> bool:
        counted = await self._threads.insist(leases.count_attempt, running.run, endpoint, model)
        if not counted:
            running.interrupt("lost")
        return counted

    async def _remedy(self, running: Running, question: Question, error: UpstreamError) -> bool:
        """Change about the question what the server would not take; False where nothing is
        to be changed. What it has begun to answer is not asked in another way either."""
        if running.first_byte or running.stop.is_set():
            return False
        remedy = question.remedy_for(error, running.job)
        if remedy is None or error.refusal is None:
            return False
        if remedy is Remedy.SHORTER:
            job = shortened(running.job, error.refusal)
            if job is None or job.prompt.sight is None:
                return False
            running.job = job
            await self._threads.insist(note_sight, running.run, job.prompt.sight)
        log.info("%s: asking once more: %s", question.endpoint.name, remedy)
        question.apply(remedy, running.job)
        return True

    def _last_words(self, question: Question, error: UpstreamError) -> str:
        """Return the sentence with which it is given up."""
        if error.code == TOO_LONG.code and Remedy.SHORTER in question.remedies:
            return TOO_LONG_EVEN_SO
        asked = error.retry_after or 0
        when = retry.time_in_words(asked, timezone.now()) if asked > settings.CHAT.retry_max_seconds else None
        return NOT_UNTIL.replace("%(when)s", when) if when and error.retryable else error.detail

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
        await self._threads.insist(leases.note_wait, run, until, error.detail)
        self._hub.waiting(running.job.conversation_id, run.reply_id, error.detail, time_as_json(until))
        try:
            async with asyncio.timeout(wait):
                await running.stop.wait()
        except TimeoutError:
            pass

    async def _learn_models(self, running: Running) -> None:
        """Ask the servers that never were what they offer; a stop does not wait for it."""
        try:
            async with asyncio.timeout(None) as running.clock:
                for endpoint in running.job.endpoints:
                    if endpoint.base_url and catalogue.is_unknown(endpoint) and not running.stop.is_set():
                        await self._ask_for_models(endpoint)
        except TimeoutError:
            pass
        finally:
            running.clock = None

    async def _endpoint(self, job: Job) -> tuple[Endpoint, str]:
        """Return where to ask for the model of a job, and what it is called there."""
        found = catalogue.find(job.model, job.endpoints)
        if found is None:
            raise UpstreamError("model_not_found", "The model of this reply is not offered here (any more).")
        endpoint, model = found
        if not endpoint.base_url:
            endpoint = Endpoint(endpoint.name, await self._upstreams.demo_url())
        return endpoint, model

    async def _ask_for_models(self, endpoint: Endpoint) -> None:
        try:
            upstream = await self._upstreams.at(endpoint.base_url)
            models = await upstream.models(endpoint)
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
        run.times = running.timing.in_milliseconds(asyncio.get_running_loop().time())
        if await self._store.finish(running.writer, ending) and ending.status == Status.DONE:
            self._titles.improve(running.job, text)
