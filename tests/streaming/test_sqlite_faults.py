"""A SQLite file that others write to, lock and leave no room for, under servers in the middle of replies."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from conversations.models import Conversation, Message, grown_texts
from streaming import store
from streaming.models import Run
from streaming.reply import Gain, Reply
from streaming.store import Writer
from tests.conftest import StartProcess
from tests.scripts import many
from tests.services import TEST_ON, dying_with_us
from tests.streaming.conftest import TabOn
from tests.tab import CommandRefused, Tab
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(TEST_ON != "sqlite", reason="faults of a file of SQLite"),
]

LOCK_SECONDS = 5.0
#: After that all is as before, also on a machine that is busy.
RECOVERY = 30.0

#: A writer as another program may be one: a short transaction after the other.
WRITER = """
import sqlite3, sys, time
file = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
file.execute("CREATE TABLE IF NOT EXISTS others (words TEXT)")
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    file.execute("BEGIN IMMEDIATE")
    file.execute("INSERT INTO others VALUES (?)", ["x" * 1000])
    file.execute("COMMIT")
file.execute("DELETE FROM others")
"""


def file() -> str:
    return str(connection.settings_dict["NAME"])


def lock(seconds: float) -> None:
    with closing(sqlite3.connect(file(), timeout=20, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("COMMIT")


async def kept(reply: str) -> Message:
    return await Message.objects.aget(pk=int(reply))


async def epoch_of(reply: str) -> int:
    return (await Run.objects.aget(pk=int(reply))).epoch


async def test_a_reply_outlives_a_file_that_another_program_locks(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    tab = await tab_on(await start_process(), alice, conversation)
    script = many(200, pace=0.02)
    upstream.answer(script)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply, 500)
    locking = asyncio.create_task(asyncio.to_thread(lock, LOCK_SECONDS))
    await asyncio.sleep(0.5)
    ref = await tab.send("rename_conversation", title="In the middle of it")
    answer = await tab.until_event(lambda event: event.get("ref") == ref, RECOVERY)
    assert answer["type"] == "command_done" or answer["code"] == "unavailable"
    await locking
    assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
    assert tab.texts[asked.reply] == script.text
    assert tab.close_code is None
    assert await epoch_of(asked.reply) == 1


async def test_who_owned_a_reply_before_the_file_was_locked_for_longer_than_a_lease_owns_it_afterwards(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    two = [await start_process(CHAT_LEASE_SECONDS="2") for _ in range(2)]
    here, elsewhere = [await tab_on(process, alice, conversation) for process in two]
    script = many(200, pace=0.02)
    upstream.always(script)
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply, 500)
    await asyncio.to_thread(lock, LOCK_SECONDS)
    for tab in (here, elsewhere):
        assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
    assert await epoch_of(asked.reply) == 1


@pytest.fixture
def others() -> Iterator[Callable[[float], None]]:
    """Starts eight programs that write to the file all the time."""
    running: list[subprocess.Popen[bytes]] = []

    def start(seconds: float) -> None:
        for _ in range(8):
            command = [sys.executable, "-c", WRITER, file(), str(seconds)]
            running.append(subprocess.Popen([*dying_with_us(signal.SIGTERM), *command]))

    yield start
    assert [program.wait(60) for program in running] == [0] * len(running)


async def test_replies_stream_beside_eight_writers(
    others: Callable[[float], None], start_process: StartProcess, tab_on: TabOn, alice: User, upstream: Upstream
) -> None:
    process = await start_process()
    upstream.always(lambda request: many(150, pace=0.02, seed=request.asked))
    tabs: list[Tab] = []
    for _ in range(4):
        conversation = await database_sync_to_async(Conversation.start)(alice)
        tabs.append(await tab_on(process, alice, conversation))
    others(5.0)

    async def talk(number: int) -> None:
        tab = tabs[number]
        asked = await tab.ask(f"reply-{number}")
        assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
        assert tab.texts[asked.reply] == many(150, seed=f"reply-{number}").text == (await kept(asked.reply)).text
        assert await epoch_of(asked.reply) == 1
        assert tab.close_code is None

    await asyncio.gather(*(talk(number) for number in range(4)))


async def test_what_is_said_while_the_disk_is_full_waits_unseen_and_commands_are_refused(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process()
    tab = await tab_on(process, alice, conversation)
    script = many(300, pace=0.02)
    upstream.answer(script)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply, 500)
    assert process.process is not None
    room = psutil.Process(process.process.pid)
    limits = room.rlimit(psutil.RLIMIT_FSIZE)
    # None of its files grows any more.
    room.rlimit(psutil.RLIMIT_FSIZE, (Path(f"{file()}-wal").stat().st_size, limits[1]))
    with pytest.raises(CommandRefused) as refused:
        for number in range(100):
            await tab.command("rename_conversation", title=f"Title {number}")
    assert refused.value.code == "unavailable"
    seen = len(tab.texts[asked.reply])
    await upstream.posts[0].until_said(seen + 500)
    stored = await database_sync_to_async(grown_texts)([int(asked.reply)])
    assert stored[int(asked.reply)]["text"].startswith(tab.texts[asked.reply])
    assert len(tab.texts[asked.reply]) < len(upstream.posts[0].text)
    room.rlimit(psutil.RLIMIT_FSIZE, limits)
    assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
    assert tab.texts[asked.reply] == script.text == (await kept(asked.reply)).text
    assert tab.close_code is None


async def test_a_file_that_says_it_is_full_is_tried_again(
    conversation: Conversation, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLITE_FULL itself, by a limit on the pages of the store's own connection, which lasts as long as that."""
    exchange = await database_sync_to_async(conversation.post)(alice, "Hello", "a1")
    run = await database_sync_to_async(Run.claim)(exchange.reply.pk, "here", [])
    assert run is not None
    shown = asyncio.Event()
    the_store = store.Store(0.001, lambda writer, gains: shown.set())
    writer = Writer(run, conversation.pk, Reply(), on_lost=lambda: None)

    refusals: list[str] = []
    insert = store.insert_gains

    def insert_gains(batch: Sequence[tuple[Writer, list[Gain]]]) -> set[int]:
        try:
            return insert(batch)
        except OperationalError as error:
            refusals.append(str(error))
            raise

    monkeypatch.setattr(store, "insert_gains", insert_gains)

    def leave_no_room() -> None:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")  # other tests have left free pages
            cursor.execute("PRAGMA max_page_count = 1")

    await the_store.in_thread(leave_no_room)
    committing = asyncio.create_task(the_store.commit_gains())
    said = "x" * 1_000_000
    writer.reply.receive_delta("text", said)
    the_store.gained(writer)
    await asyncio.wait_for(shown.wait(), RECOVERY)
    assert refusals == ["database or disk is full"]
    stored = await database_sync_to_async(grown_texts)([exchange.reply.pk])
    assert stored[exchange.reply.pk]["text"] == said
    committing.cancel()
    the_store.close()
