"""After a run of anything all is back where it was: tasks, threads, file descriptors, and the memory of the hub."""

from __future__ import annotations

import asyncio
import gc
import threading

import psutil
import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth.models import User

from conversations.models import Conversation
from tests.conftest import LiveServer, serving
from tests.scripts import Drop, Script, Stall, many, refuses
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)


def counts() -> dict[str, object]:
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": psutil.Process().num_fds() - descriptors_of_the_database(),
    }


def descriptors_of_the_database() -> int:
    """SQLite keeps the descriptor of a closed connection for the next one, while another holds a lock on the file:
    https://www.sqlite.org/src/doc/trunk/src/os_unix.c, "Posix Advisory Locking"."""
    name = str(settings.DATABASES["default"]["NAME"])
    return sum(file.path.startswith(name) for file in psutil.Process().open_files())


async def settled() -> dict[str, object]:
    """The counts once they have stood still for a moment: the other end of a connection closes a little later."""
    async with asyncio.timeout(10):
        seen = [counts()]
        while len(seen) < 5 or any(each != seen[-1] for each in seen[-5:]):
            await asyncio.sleep(0.1)
            seen.append(counts())
    return seen[-1]


async def use(server: LiveServer, user: User, upstream: Upstream) -> None:
    """A reply of every kind, a tab that closes and one that is cut off."""
    conversation = await database_sync_to_async(Conversation.start)(user)
    scripts = {
        "whole": many(20),
        "broken": Script(["a", Drop()]),
        "refused": refuses(401),
        "endless": Script(["a", Stall()]),
    }
    upstream.always(lambda request: scripts[request.asked])
    polite, rude = [await server.tab(user, conversation) for _ in range(2)]
    for tab in (polite, rude):
        await tab.open()
    for text in ("whole", "broken", "refused"):
        await polite.until_ended((await polite.ask(text)).reply)
    asked = await polite.ask("endless")
    await polite.until_said(asked.reply)
    await rude.cut()
    await polite.command("stop_reply", reply=asked.reply)
    await polite.until_ended(asked.reply)
    await polite.close()


async def test_a_server_that_stops_leaves_nothing(transactional_db: None, alice: User, upstream: Upstream) -> None:
    async with serving() as server:
        await use(server, alice, upstream)
    before = await settled()
    for _ in range(3):
        async with serving() as server:
            await use(server, alice, upstream)
    assert await settled() == before


async def test_a_server_that_goes_on_holds_nothing_of_what_has_ended(
    transactional_db: None, alice: User, upstream: Upstream
) -> None:
    async with serving() as server:
        # Pools of threads and connections fill up first.
        for _ in range(3):
            await asyncio.gather(*(use(server, alice, upstream) for _ in range(3)))
        before = await settled()
        for _ in range(5):
            await use(server, alice, upstream)
        assert await settled() == before
