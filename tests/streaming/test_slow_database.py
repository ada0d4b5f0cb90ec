"""A query that takes its time holds up nobody's reply: the way up shares no thread with requests, nor with what readers ask."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from conversations.models import Conversation
from streaming import process
from tests.conftest import LiveServer, OpenTab
from tests.processes import database_url
from tests.scripts import Hold, Script
from tests.upstream import Upstream

#: Of the process's pool for readers and rights, see `Process.threads`.
THREADS = 4
LOCK = 7919
#: Nobody waits for it longer, also when the test fails.
LONGEST = 60.0


class Gate:
    """Real queries that do not come back until it is opened: on SQLite in a function of ours, on PostgreSQL at a lock."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.holding = threading.Semaphore(0)
        self.locked: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        if connection.vendor == "postgresql":
            self.locked = psycopg.connect(database_url(), autocommit=True)
            self.locked.execute("SELECT pg_advisory_lock(%s)", [LOCK])

    def open(self) -> None:
        self.is_open.set()
        if self.locked is not None:
            self.locked.close()

    def query(self) -> None:
        """Runs on whatever thread it is called on, with that thread's connection."""
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                self.holding.release()
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            else:
                connection.connection.create_function("held", 0, self.wait)
                cursor.execute("SELECT held()")

    def wait(self) -> int:
        self.holding.release()
        return int(self.is_open.wait(LONGEST))


@contextlib.asynccontextmanager
async def held(shared: int, pooled: int) -> AsyncIterator[list[asyncio.Task[None]]]:
    """So many queries that do not come back on the thread that requests share, and on the threads of the process."""
    gate = Gate()
    await asyncio.to_thread(gate.close)
    here = process.start()
    queries = [asyncio.create_task(database_sync_to_async(gate.query)()) for _ in range(shared)]
    queries += [asyncio.create_task(here.threads.run(gate.query)) for _ in range(pooled)]
    try:
        for _ in range(min(shared, 1) + pooled):
            assert await asyncio.to_thread(gate.holding.acquire, timeout=LONGEST)
        yield queries
        assert not any(query.done() for query in queries), "they held up nothing"
    finally:
        gate.open()
        await asyncio.gather(*queries)


@pytest.mark.parametrize(("shared", "pooled"), [(1, 0), (3, THREADS - 1), (1, THREADS)])
async def test_a_slow_query_elsewhere_holds_up_no_delta(
    shared: int, pooled: int, open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    words = ["One, ", "two, ", "three, ", "four."]
    steps = [step for word in words for step in (word, Hold())]
    upstream.always(lambda request: Script(steps))
    other = await database_sync_to_async(Conversation.start)(alice)
    tabs = [await open_tab(alice, each) for each in (conversation, conversation, other)]
    replies = [(await tabs[number].ask("Count")).reply for number in (0, 2)]
    told = [(tabs[0], replies[0]), (tabs[1], replies[0]), (tabs[2], replies[1])]
    for tab, reply in told:
        await tab.until_said(reply, len(words[0]))

    async with held(shared, pooled):
        said = words[0]
        for word in words[1:]:
            said += word
            for post in upstream.posts:
                post.go_on()
            for tab, reply in told:
                assert await tab.until_said(reply, len(said)) == said

    for post in upstream.posts:
        post.go_on()
    for tab, reply in told:
        assert (await tab.until_ended(reply))["status"] == "done"


async def test_a_reader_who_waits_for_a_snapshot_is_told_the_reply_that_runs(
    open_tab: OpenTab, server: LiveServer, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    """What it wants from the store comes when the store has time; what is in memory does not wait for that."""
    upstream.answer(Script(["One, ", Hold(), "two.", Hold()]))
    tab = await open_tab(alice, conversation)
    asked = await tab.ask("Count")
    await tab.until_said(asked.reply, 5)
    async with held(1, THREADS):
        await tab.send("sync")
        upstream.posts[0].go_on()
        assert await tab.until_said(asked.reply, 9) == "One, two."
        assert len(tab.of_type("conversation_snapshot")) == 1
    await tab.until(lambda: len(tab.of_type("conversation_snapshot")) == 2)
    upstream.posts[0].go_on()
    await tab.until_ended(asked.reply)
