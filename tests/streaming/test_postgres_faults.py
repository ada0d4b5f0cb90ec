"""A PostgreSQL that goes away, comes back, sleeps and is locked, under servers in the middle of replies.

No socket is closed for it, nobody sees a character that is not kept, and every reply comes to its whole end: what it
says waits in memory meanwhile. A command is carried out or refused, never half.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections

from chatproject.databases import MOST_CONNECTIONS, SESSION
from conversations.models import Conversation, Message
from streaming.events import Close
from streaming.models import Run
from tests.conftest import LiveServer, StartProcess, csrf_client
from tests.event_reader import EventReader
from tests.processes import ServerProcess
from tests.scripts import many, overloaded
from tests.services import PostgresServer
from tests.streaming.conftest import TabOn
from tests.tab import CommandRefused, Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services, pytest.mark.usefixtures("postgres")]

#: How long a fault lasts.
FAULT = 5.0
#: How long somebody waits who asks in the middle of one: for a connection or a lock, twice with bad luck.
ANSWER = 20.0
#: After that all is as before, also on a machine that is busy.
RECOVERY = 30.0

Fault = Callable[[PostgresServer], Coroutine[Any, Any, None]]


async def restarted(postgres: PostgresServer) -> None:
    await asyncio.to_thread(postgres.stop)
    await asyncio.sleep(FAULT)
    await postgres.astart()


async def restarted_at_once(postgres: PostgresServer) -> None:
    await asyncio.to_thread(postgres.stop)
    await postgres.astart()


async def killed(postgres: PostgresServer) -> None:
    await asyncio.to_thread(postgres.kill)
    await postgres.astart()


async def cut_off(postgres: PostgresServer) -> None:
    for _ in range(5):
        assert await asyncio.to_thread(postgres.cut_connections)
        await asyncio.sleep(FAULT / 5)


async def paused(postgres: PostgresServer) -> None:
    postgres.pause()
    await asyncio.sleep(FAULT)
    postgres.resume()


def locked(table: str) -> Fault:
    async def lock(postgres: PostgresServer) -> None:
        def hold() -> None:
            with postgres.connect() as client, client.transaction():
                client.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
                time.sleep(FAULT)

        await asyncio.to_thread(hold)

    return lock


FAULTS = {
    "restarted": restarted,
    "restarted at once": restarted_at_once,
    "killed": killed,
    "cut off": cut_off,
    "paused": paused,
    "pieces locked": locked("conversations_piece"),
    "runs locked": locked("streaming_run"),
    "messages locked": locked("conversations_message"),
    "conversations locked": locked("conversations_conversation"),
}


@pytest.fixture
async def tabs(start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation) -> list[Tab]:
    """Two tabs of alice's on one process."""
    process = await start_process()
    return [await tab_on(process, alice, conversation) for _ in range(2)]


async def rename_again_and_again(tab: Tab, done: asyncio.Event) -> dict[str, str]:
    """What became of each title that was asked for."""
    answers: dict[str, str] = {}
    while not done.is_set():
        title = f"Title {len(answers)}"
        ref = await tab.send("rename_conversation", title=title)
        answer = await tab.until_event(lambda event, ref=ref: event.get("ref") == ref, ANSWER)  # type: ignore[misc]
        answers[title] = answer["type"] if answer["type"] == "command_done" else answer["code"]
        await asyncio.sleep(0.2)
    return answers


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_reply_outlives_a_database_that_is(
    fault: str, postgres: PostgresServer, tabs: list[Tab], upstream: Upstream
) -> None:
    script = many(300, pace=0.02)
    upstream.answer(script)
    asked = await tabs[0].ask("Talk")
    for tab in tabs:
        await tab.until_said(asked.reply, 500)
    over = asyncio.Event()
    renaming = asyncio.create_task(rename_again_and_again(tabs[0], over))
    await FAULTS[fault](postgres)
    for tab in tabs:
        assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
        assert tab.close_code is None
    over.set()
    answers = await renaming
    assert set(answers.values()) <= {"command_done", "unavailable"}
    title = [title for title, answer in answers.items() if answer == "command_done"][-1]
    for tab in tabs:
        await tab.until(lambda tab=tab: tab.conversation["title"] == title)  # type: ignore[misc]
    kept = await Message.objects.aget(pk=int(asked.reply))
    assert (kept.status, kept.text) == ("done", script.text)
    assert (await Run.objects.aget(pk=int(asked.reply))).epoch == 1
    assert len(upstream.posts) == 1


@pytest.mark.parametrize("fault", ["restarted", "paused", "messages locked"])
async def test_what_is_asked_in_the_middle_of_it_is_one_message_and_one_reply_or_none(
    fault: str, postgres: PostgresServer, tabs: list[Tab], upstream: Upstream
) -> None:
    breaking = asyncio.create_task(FAULTS[fault](postgres))
    await asyncio.sleep(0.5)
    client_id = "client-1"
    while True:
        with contextlib.suppress(CommandRefused):
            ref = await tabs[0].send("send_message", text="Hello", client_id=client_id)
            answer = await tabs[0].until_event(lambda event, ref=ref: event.get("ref") == ref, ANSWER)  # type: ignore[misc]
            if answer["type"] == "command_done":
                break
            assert answer["code"] == "unavailable"
        await asyncio.sleep(0.1)
    await breaking
    for tab in tabs:
        assert (await tab.until_ended(answer["reply"], RECOVERY))["status"] == "done"
    assert await Message.objects.acount() == 2
    assert len(upstream.posts) == 1


async def test_a_reply_that_waits_for_its_next_try_outlives_it(
    postgres: PostgresServer, tabs: list[Tab], upstream: Upstream
) -> None:
    """Its next try falls into the time without a database, in which it could not be counted."""
    upstream.answer(overloaded(retry_after="2"), many(10))
    asked = await tabs[0].ask("Talk")
    await tabs[1].wait_for("reply_waiting", reply=asked.reply)
    await asyncio.to_thread(postgres.stop)
    # Longer than the wait for the next try and for a connection together.
    await asyncio.sleep(2 + FAULT + 3)
    await postgres.astart()
    for tab in tabs:
        assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
        assert tab.texts[asked.reply] == many(10).text
    assert (await Run.objects.aget(pk=int(asked.reply))).attempts == len(upstream.posts) == 2


async def test_after_a_long_absence_it_is_found_again_soon(postgres: PostgresServer) -> None:
    """The pool by itself would look for it after 1, 3, 7, 15 and 31 seconds, and so on."""
    back = threading.Event()

    def ask_until_it_answers() -> float:
        try:
            while True:
                with contextlib.suppress(OperationalError):
                    Message.objects.exists()
                    if back.is_set():
                        return time.monotonic()
                connection.close()
        finally:
            connections.close_all()

    await asyncio.to_thread(postgres.stop)
    asking = asyncio.create_task(asyncio.to_thread(ask_until_it_answers))
    await asyncio.sleep(17)
    await postgres.astart()
    began = time.monotonic()
    back.set()
    assert await asking - began < 10


async def test_who_comes_while_it_is_away_is_let_in_afterwards(
    postgres: PostgresServer, tabs: list[Tab], tab_on: TabOn, alice: User, conversation: Conversation
) -> None:
    newcomer = await tab_on_address_of(tabs[0])
    await asyncio.to_thread(postgres.stop)
    codes = set()
    for _ in range(2):
        with contextlib.suppress(Exception):  # a handshake that is answered with 5xx
            await newcomer.open()
            codes.add(await newcomer.until_closed(ANSWER))
    assert codes <= {Close.TRY_AGAIN}
    await postgres.astart()
    async with asyncio.timeout(RECOVERY):
        while not newcomer.of_type("conversation_snapshot"):
            with contextlib.suppress(Exception):
                await newcomer.open()
                await newcomer.wait_for("conversation_snapshot", seconds=ANSWER)
            await asyncio.sleep(0.2)
    await newcomer.close()
    assert {tab.close_code for tab in tabs} == {None}


async def tab_on_address_of(other: Tab) -> Tab:
    return Tab(other.url, cookie=other.cookie, origin=other.origin)


@pytest.fixture
async def two(start_process: StartProcess) -> tuple[ServerProcess, ServerProcess]:
    """With leases that are shorter than the fault."""
    return await start_process(CHAT_LEASE_SECONDS="2"), await start_process(CHAT_LEASE_SECONDS="2")


@pytest.mark.parametrize("fault", ["restarted", "paused", "runs locked"])
async def test_who_owned_a_reply_before_it_went_away_for_longer_than_a_lease_owns_it_afterwards(
    fault: str,
    postgres: PostgresServer,
    two: tuple[ServerProcess, ServerProcess],
    tab_on: TabOn,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
) -> None:
    script = many(300, pace=0.03)
    upstream.always(script)
    here, elsewhere = [await tab_on(process, alice, conversation) for process in two]
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply, 500)
    await FAULTS[fault](postgres)
    for tab in (here, elsewhere):
        assert (await tab.until_ended(asked.reply, RECOVERY))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
    assert (await Run.objects.aget(pk=int(asked.reply))).epoch == 1


@pytest.mark.parametrize("name", SESSION)
async def test_nothing_waits_for_a_lock_or_a_sleeping_transaction_for_ever(name: str) -> None:
    from channels.db import database_sync_to_async

    def shown() -> str:
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            return str(cursor.fetchone()[0])

    assert await database_sync_to_async(shown)() == SESSION[name]


async def test_an_event_stream_holds_no_connection(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation
) -> None:
    """It lasts for hours, and the pool has few: who reads would shut out who asks."""
    process = await start_process()
    tab = await tab_on(process, alice, conversation)
    async with csrf_client(LiveServer(process.url), alice) as client, contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_CONNECTIONS + 2):
            reader = EventReader(client, f"/conversations/{conversation.pk}/events/")
            await stack.enter_async_context(reader.open())
            await reader.until("conversation_snapshot")
        await tab.command("rename_conversation", title="Still here")
        assert (await client.get(f"/conversations/{conversation.pk}/")).status_code == 200
