"""The log: what replies say is committed here, and only then shown.

One thread with one connection writes for all running replies of the process together,
in one INSERT. The first words of a reply are committed at once; later ones no sooner
than a frame after the last commit, so that under load commits batch by themselves.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from django.db import OperationalError, connection, connections, transaction
from django.db.models.functions import Now

from conversations.models import CONVERSATION_LOCK, Change, Message, Piece, record_change
from conversations.prepared import Update, parameter
from conversations.refusals import Refused
from conversations.status import Status

from .models import LEASE, Run
from .reply import Ending, Gain, Reply
from .tempo import Tempo
from .threads import is_away

log = logging.getLogger(__name__)

T = TypeVar("T")

#: SQLite takes at most 32,766 variables in a statement, and a row takes five.
ROWS_PER_INSERT = 5_000
#: A database that is away is asked again after this long, at the most.
LONGEST_REST = 2.0
#: How long the store waits for SQLite's lock before it looks at what else there is to
#: do: the leases are renewed on its thread. Requests may wait longer than a lease lasts.
SQLITE_WAIT_MS = 2_000
#: What a person asked for waits longer, with rests in which the leases are renewed.
LONGEST_TURN = 20.0
REST_IN_TURN = 0.05


@dataclass(eq=False)
class Writer:
    """One reply of this process, on its way into the store.

    `run` is the lease under which it is written. `on_lost` is called when the lease is
    found to be somebody else's: nothing more of this reply will be stored from here.
    """

    run: Run
    conversation_id: Any
    reply: Reply
    on_lost: Callable[[], None]
    announced: bool = field(default=False)  # the row says `streaming`


class Row(NamedTuple):
    reply_id: int
    epoch: int
    part: str
    start: int
    text: str


class Store:
    """Commits the gains of replies and hands what is stored to `publish`."""

    def __init__(
        self,
        frame_seconds: float,
        publish: Callable[[Writer, list[Gain]], None],
    ) -> None:
        self._tempo = Tempo(frame_seconds)
        self._publish = publish
        self._waiting: dict[int, Writer] = {}
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        #: For questions, ends and the like: one after the other, so that what replies say meanwhile waits for one of them
        #: and not for all.
        self._turn = asyncio.Lock()

    def gained(self, writer: Writer) -> None:
        """Tell that a reply has said something that is not stored yet."""
        self._waiting[writer.run.reply_id] = writer
        self._wake.set()
        if not writer.announced:
            self._urgent.set()

    async def commit_gains(self) -> None:
        """Commit what replies gain, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            began, worked = loop.time(), time.thread_time()
            await self._commit()
            await self._rest(began + self._tempo.frame - loop.time())
            self._tempo.note(time.thread_time() - worked, loop.time() - began)

    async def _rest(self, seconds: float) -> None:
        """Rest until the next frame is due, or somebody's first words are there."""
        if seconds <= 0 or self._urgent.is_set():
            # Also a commit that took longer than a frame lets the others run.
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        except TimeoutError:
            pass

    async def _commit(self) -> None:
        self._wake.clear()
        self._urgent.clear()
        writers, self._waiting = self._waiting, {}
        batch = [(writer, writer.reply.gains_to_store()) for writer in writers.values()]
        await self._write(batch)

    async def _write(self, batch: list[tuple[Writer, list[Gain]]]) -> None:
        """Commit a batch and show it."""
        try:
            refused = await self._until_it_works(partial(self.in_thread, insert_gains, batch))
        except Exception:
            # Whatever it is: this task stores for all replies, and must not end.
            log.exception("what %d replies gained is refused", len(batch))
            await self._write_one_by_one(batch)
            return
        for writer, gains in batch:
            if writer.run.reply_id in refused:
                writer.on_lost()
            elif gains:
                writer.reply.receive_stored(gains)
                self._publish(writer, gains)

    async def _write_one_by_one(self, batch: list[tuple[Writer, list[Gain]]]) -> None:
        """Find the reply whose rows the database will never take (its place is taken by
        somebody else's piece, say), so that the others are not held up by it."""
        if len(batch) == 1:
            batch[0][0].on_lost()
            return
        for one in batch:
            await self._write([one])

    async def finish(self, writer: Writer, ending: Ending) -> bool:
        """Commit the last gains and the ending in one transaction, and show both.

        False where the lease was lost: then somebody else ends this reply.
        """
        return await self._until_it_works(partial(self._end, writer, ending))

    async def _end(self, writer: Writer, ending: Ending) -> bool:
        async with self._turn:
            # What it had said when it came here is stored by now, if others went first.
            self._waiting.pop(writer.run.reply_id, None)
            gains = writer.reply.gains_to_store()
            texts = {part: str(said) for part, said in writer.reply.said.items()}
            done = await self.in_thread(end_reply, writer.run, writer.conversation_id, texts, ending)
        if done:
            writer.reply.receive_all_stored()
            self._publish(writer, gains)
        return done

    async def _until_it_works(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do something on the store's thread, as often as it takes: the text is in memory
        and nobody has been shown it, so a database that is away for a while costs only
        time. What it refuses for good is raised."""
        rest = 0.05
        while True:
            try:
                return await attempt()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("the database is away, what replies say waits for it: %s", error)
                await asyncio.sleep(rest)
                rest = min(rest * 2, LONGEST_REST)

    async def in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """Do `work` on the store's thread, in turn with what it stores."""
        loop = asyncio.get_running_loop()
        # Sentences are in the language of whoever asks, which is known where it was asked.
        here = contextvars.copy_context()
        return await loop.run_in_executor(self._thread, partial(here.run, _work, work, *args))

    async def in_turn(self, work: Callable[..., T], *args: Any) -> T:
        """Do `work`, which writes, on the store's thread; again while another program holds SQLite's lock, for as long as
        a request would wait for it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LONGEST_TURN
        while True:
            try:
                async with self._turn:
                    return await self.in_thread(work, *args)
            except OperationalError as error:
                if not _is_busy(error) or loop.time() > deadline:
                    raise
            await asyncio.sleep(REST_IN_TURN)

    def close(self) -> None:
        self._thread.submit(connections.close_all)
        self._thread.shutdown(wait=True)


def _is_busy(error: OperationalError) -> bool:
    """Does another program hold SQLite's lock?"""
    return getattr(error.__cause__, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _work(work: Callable[..., T], *args: Any) -> T:
    try:
        if connection.connection is None and connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {SQLITE_WAIT_MS}")
        return work(*args)
    except Refused:
        raise  # in words, by a sound connection
    except Exception:
        # A connection that broke is opened anew; a sound one costs a millisecond.
        connection.close()
        raise


def insert_gains(batch: Sequence[tuple[Writer, list[Gain]]]) -> set[int]:
    """Insert the gains of many replies in one statement, each under its own lease.

    Return the replies whose lease is somebody else's by now; of those nothing is stored.
    """
    rows = [Row(writer.run.reply_id, writer.run.epoch, *gain) for writer, gains in batch for gain in gains]
    begun = [writer for writer, _ in batch if not writer.announced]
    if begun:
        with transaction.atomic():
            announce([writer.run for writer in begun])
            stored = _insert(rows)
        for writer in begun:
            writer.announced = True
    else:
        stored = _insert(rows)
    return {row.reply_id for row in rows} - stored


FIRST_TOKEN = Update(lambda: Run.objects.under(LEASE), first_token_at=Now())
BEGUN = Update(
    lambda: Message.objects.filter(pk=parameter(Message, "id", "pk"), status=Status.QUEUED), status=Status.STREAMING
)


def announce(runs: list[Run]) -> None:
    """The rows of these replies say from now on that they are streaming."""
    for run in sorted(runs, key=lambda run: run.reply_id):
        if FIRST_TOKEN.run(**run.lease):
            BEGUN.run(pk=run.reply_id)


def _insert(rows: list[Row]) -> set[int]:
    stored: set[int] = set()
    for first in range(0, len(rows), ROWS_PER_INSERT):
        stored |= _insert_at_once(rows[first : first + ROWS_PER_INSERT])
    return stored


# The lease is part of the statement. On PostgreSQL the rows of the leases are locked
# too: else an owner that has just lost one could still commit behind the back of the
# new owner, who has counted the pieces already. SQLite has one writer at a time.
#
# A piece that is there already is the same piece, of the same lease: the database went
# away after its commit and before its answer, and the batch is written once more.
INSERT = """
    WITH gained(reply_id, epoch, part, start, text) AS (VALUES {values})
    INSERT INTO {piece} (reply_id, part, start, text)
    SELECT gained.reply_id, gained.part, gained.start, gained.text
    FROM gained JOIN {run} run
      ON run.reply_id = gained.reply_id AND run.epoch = gained.epoch
    WHERE run.ended_at IS NULL
    {lock}
    ON CONFLICT (reply_id, part, start) DO UPDATE SET text = excluded.text
    RETURNING reply_id
"""


def _insert_at_once(rows: list[Row]) -> set[int]:
    if not rows:
        return set()
    postgresql = connection.vendor == "postgresql"
    one = "(%s::bigint, %s::int, %s::text, %s::int, %s::text)" if postgresql else "(%s, %s, %s, %s, %s)"
    statement = INSERT.format(
        values=", ".join([one] * len(rows)),
        piece=Piece._meta.db_table,
        run=Run._meta.db_table,
        lock="FOR SHARE OF run" if postgresql else "",
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for row in rows for value in row])
        return {row[0] for row in cursor.fetchall()}


END_RUN = Update(
    lambda: Run.objects.under(LEASE),
    ended_at=Now(),
    waiting_until=None,
    **{name: parameter(Run, name) for name in ("prompt_tokens", "completion_tokens", "estimated")},
)
END_MESSAGE = Update(
    lambda: Message.objects.running().filter(pk=parameter(Message, "id", "pk")),
    ended_at=Now(),
    **{name: parameter(Message, name) for name in ("status", "finish_reason", "error", "text", "reasoning", "usage")},
)


def end_reply(run: Run, conversation_id: Any, texts: dict[Any, str], ending: Ending) -> bool:
    """Fold the pieces of a reply into its message and end it, in one transaction.

    `run` carries what was spent, to be kept. False where the lease is not `run`'s any
    more, or the reply has ended: then nothing happens.
    """
    with transaction.atomic():
        # Who takes two locks takes that of the conversation first, here as elsewhere.
        CONVERSATION_LOCK.take(pk=conversation_id)
        spent = {name: getattr(run, name) for name in ("prompt_tokens", "completion_tokens", "estimated")}
        if not END_RUN.run(**run.lease, **spent):
            return False
        # A reply is never done or interrupted before it streams; that step may not have
        # been stored, when all of it came within one frame.
        said: dict[str, Any] = {
            "status": ending.status,
            "finish_reason": ending.finish_reason[:50],
            "error": ending.error,
            "text": texts["text"],
            "reasoning": texts["reasoning"],
            "usage": usage_as_json(run),
        }
        END_MESSAGE.run(pk=run.reply_id, **said)
        reply = run.reply
        for name, value in said.items():
            setattr(reply, name, value)
        Piece.objects.filter(reply_id=run.reply_id).delete()
        record_change(conversation_id, Change.Kind.REPLY_ENDED, message=reply, said=texts["text"])
    return True


def usage_as_json(run: Run) -> dict[str, Any] | None:
    if not run.prompt_tokens and not run.completion_tokens:
        return None
    return {
        "prompt_tokens": run.prompt_tokens,
        "completion_tokens": run.completion_tokens,
        "cost": None,
        "estimated": run.estimated,
        "attempts": run.attempts,
        **run.times,
    }
