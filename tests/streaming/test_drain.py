"""A process that is asked to end: what speaks may finish, what does not is given back, everybody is told, and it does end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction

from chatproject.config import Config
from conversations.models import Conversation, Message
from streaming import process as streaming_process
from streaming import shutdown
from streaming.models import Run
from streaming.shutdown import SECONDS_OF_ONE_WISH, SECONDS_TO_LEAVE
from tests.conftest import LiveServer, StartProcess, csrf_client
from tests.processes import ROOT, ServerProcess
from tests.scripts import Hold, Script, Stall, many
from tests.streaming.test_kill import KINDS, TERMINAL, Kind, move, says_why, tab_on, until_status
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

#: What a busy machine may need for the last steps of a process, after its replies.
LAST_STEPS = 10.0
#: A drain that a test never waits for.
LONG = "600"


async def until_asked_to_end(process: ServerProcess) -> None:
    """Until the process has heard the signal: it takes no more connections then."""
    async with asyncio.timeout(LAST_STEPS):
        while await is_listening(process):
            await asyncio.sleep(0.02)


async def is_listening(process: ServerProcess) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(process.url).port)
    except (ConnectionRefusedError, ConnectionResetError):
        # Reset is who waited in the queue of the socket that was closed.
        return False
    writer.close()
    return True


@asynccontextmanager
async def talking(
    process: ServerProcess, user: User, conversation: Conversation, upstream: Upstream
) -> AsyncIterator[tuple[Tab, str]]:
    """A tab, and a reply that has said one word and goes on when the upstream is told so."""
    upstream.answer(Script(["One, ", Hold(), "two."]))
    tab = await tab_on(process, user, conversation)
    asked = await tab.ask("Count")
    await tab.until_said(asked.reply)
    yield tab, asked.reply
    await tab.close()
    assert tab.wrongs == []


async def test_it_listens_no_more_and_still_speaks_to_those_who_are_there(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as (tab, reply):
        assert await is_listening(process)
        process.terminate()
        await until_asked_to_end(process)
        assert await tab.command("ping")
        upstream.posts[0].go_on()
        ended = await tab.until_ended(reply)
        assert (ended["status"], tab.texts[reply]) == ("done", "One, two.")
        assert await tab.until_closed() == 1012
        assert tab.of_type("bye")
    await process.until_gone()


async def test_a_question_that_comes_then_is_kept_and_answered_by_the_next(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as _:
        other: Any = await database_sync_to_async(Conversation.start)(alice)
        second = await tab_on(process, alice, other)
        process.terminate()
        await until_asked_to_end(process)
        asked = await second.ask("And now?")
        upstream.answer(Script(["Later."]))
        upstream.posts[0].go_on()
        await second.until_closed()
        await process.until_gone()
        # Acknowledged is committed; nobody had begun it.
        assert (await Message.objects.aget(pk=asked.reply)).status == "queued"
        assert len(upstream.posts) == 1
        await process.astart()
        move(second, process)
        await second.resume()
        assert (await second.until_ended(asked.reply))["status"] == "done"
        assert second.texts[asked.reply] == "Later."
        await second.close()


async def test_what_has_not_begun_to_speak_is_given_back_at_once(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as _:
        other: Any = await database_sync_to_async(Conversation.start)(alice)
        upstream.answer(Script(before=[Stall()]), Script(["Here."]))
        second = await tab_on(process, alice, other)
        asked = await second.ask("Anybody?")
        await upstream.until_asked(2)
        process.terminate()
        # Nothing of it was heard, so it may be asked for again: not when the drain is over, but now.
        await upstream.posts[1].until_closed(seconds=LAST_STEPS)
        given_back = await until_run(asked.reply, lambda run: run.owner == "")
        assert (given_back.attempts, given_back.ended_at) == (1, None)
        upstream.posts[0].go_on()
        await process.until_gone()
        await process.astart()
        kept = await until_status(asked.reply, TERMINAL, seconds=LAST_STEPS)
        assert (kept.status, kept.text) == ("done", "Here.")
        await second.until_closed()


async def until_run(reply: str, fits: Callable[[Run], bool]) -> Run:
    async with asyncio.timeout(LAST_STEPS):
        while (run := await Run.objects.filter(reply_id=int(reply)).afirst()) is None or not fits(run):
            await asyncio.sleep(0.02)
    return run


async def test_an_event_stream_is_told_bye(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process()
    server = LiveServer(process.url)
    async with (
        csrf_client(server, alice) as client,
        client.stream("GET", f"/conversations/{conversation.pk}/events/", timeout=20) as response,
    ):
        lines = response.aiter_lines()
        assert "conversation_snapshot" in await anext(line async for line in lines if line.startswith("data:"))
        process.terminate()
        told = [json.loads(line.removeprefix("data:")) async for line in lines if line.startswith("data:")]
    assert [event["type"] for event in told] == ["bye"]
    assert told[0]["after_ms"] >= 0
    await process.until_gone()


async def test_no_event_stream_begins_then(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    """A proxy keeps connections open, so a request may still come in where nobody listens any more."""
    process = await start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream), csrf_client(LiveServer(process.url), alice) as client:
        page = f"/conversations/{conversation.pk}/"
        assert (await client.get(page)).status_code == 200
        process.terminate()
        await until_asked_to_end(process)
        assert (await client.get(f"{page}events/")).status_code == 503
        assert (await client.get(page)).status_code == 200
        upstream.posts[0].go_on()
    await process.until_gone()


async def test_no_socket_opens_then(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    """The same for a socket: it is sent away with the code that brings it back."""
    process = await start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as (tab, _):
        late = await LiveServer(process.url).tab(alice, conversation)
        async with kept_connection(process) as (reader, writer):
            process.terminate()
            await until_asked_to_end(process)
            writer.write(handshake(late))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            frame = await reader.readexactly(4)
        assert (frame[0] & 0x0F, int.from_bytes(frame[2:])) == (8, 1012)
        upstream.posts[0].go_on()
        assert await tab.until_closed() == 1012
    await process.until_gone()


async def code_of_a_new_tab(process: ServerProcess, user: User, conversation: Conversation) -> int | None:
    """The code with which it is sent away; None where it is let in."""
    late = await (await LiveServer(process.url).tab(user, conversation)).open()
    await late.until(lambda: late.close_code is not None or late.conversation)
    code = late.close_code
    await late.close()
    return code


async def test_under_daphne_who_comes_then_is_sent_away_in_peace(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    """It goes on listening, and its library does not let an application say 1012."""
    process = await start_process("daphne", CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as (tab, _):
        process.terminate()
        async with asyncio.timeout(LAST_STEPS):
            while (code := await code_of_a_new_tab(process, alice, conversation)) is None:
                await asyncio.sleep(0.05)
        assert code == 1000
        upstream.posts[0].go_on()
        assert await tab.until_closed() == 1000
    await process.until_gone()
    assert "Exception inside application" not in process.log()


@asynccontextmanager
async def kept_connection(process: ServerProcess) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which one request was answered, as proxies keep them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(process.url).port)
    writer.write(b"GET /health/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0].split(b":")[1]))
    yield reader, writer
    writer.close()


def handshake(tab: Tab) -> bytes:
    parts = urlsplit(tab.url)
    lines = [
        f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Origin: {tab.origin}", f"Cookie: {tab.cookie}",
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


# The second signal


@KINDS
async def test_a_second_signal_ends_the_wait(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream, kind: Kind
) -> None:
    process = await start_process(kind, CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as (tab, reply):
        process.terminate()
        await asyncio.sleep(SECONDS_OF_ONE_WISH + 0.5)
        assert tab.close_code is None
        process.terminate()
        assert (await tab.until_ended(reply))["status"] == "interrupted"
        await tab.until_closed()
        assert tab.of_type("bye")
    await process.until_gone()
    kept = await Message.objects.aget(pk=reply)
    assert (kept.status, kept.text) == ("interrupted", "One, ")
    assert says_why(kept)


async def test_a_signal_that_is_told_twice_is_one(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    """Ctrl+C reaches every process of a terminal, and some of them once more from their supervisor."""
    process = await start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as (tab, reply):
        assert process.process is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            process.process.send_signal(number)
        await until_asked_to_end(process)
        upstream.posts[0].go_on()
        assert (await tab.until_ended(reply))["status"] == "done"
        assert await tab.until_closed() == 1012
    await process.until_gone()


# What hangs


async def test_it_ends_although_the_database_hangs(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    drain = 0.5
    process = await start_process(CHAT_DRAIN_SECONDS=str(drain), CHAT_SILENCE_SECONDS=LONG)
    async with talking(process, alice, conversation, upstream) as (tab, reply):
        locked, release = asyncio.Event(), asyncio.Event()
        lock = asyncio.create_task(hold_the_database(locked, release))
        await locked.wait()
        asked_at = time.monotonic()
        process.terminate()
        upstream.posts[0].go_on()
        await process.until_gone(drain + SECONDS_TO_LEAVE + LAST_STEPS)
        assert time.monotonic() - asked_at < drain + SECONDS_TO_LEAVE + LAST_STEPS
        release.set()
        await lock
        seen = tab.texts[reply]
    await process.astart()
    kept = await until_status(reply, TERMINAL, seconds=LAST_STEPS)
    assert kept.status == "interrupted"
    assert kept.text.startswith(seen)
    assert says_why(kept)


async def hold_the_database(locked: asyncio.Event, release: asyncio.Event) -> None:
    """Let nobody write what belongs to replies, until `release`."""
    loop = asyncio.get_running_loop()

    def hold() -> None:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    if connection.vendor == "postgresql":
                        cursor.execute("LOCK TABLE streaming_run, conversations_piece IN ACCESS EXCLUSIVE MODE")
                loop.call_soon_threadsafe(locked.set)
                asyncio.run_coroutine_threadsafe(release.wait(), loop).result(60)
        finally:
            connection.close()

    await asyncio.to_thread(hold)


async def test_it_ends_although_the_upstream_takes_no_connection(
    start_process: StartProcess, alice: User, conversation: Conversation
) -> None:
    """A model's server whose queue of connections is full: nobody is refused, and nobody is let in."""
    async with unreachable() as url:
        process = await start_process(OPENAI_BASE_URL=url, CHAT_DRAIN_SECONDS="0.5", CHAT_CONNECT_SECONDS="600")
        tab = await tab_on(process, alice, conversation)
        asked = await tab.ask("Anybody?")
        await until_run(asked.reply, lambda run: run.attempts == 1)
        process.terminate()
        assert await tab.until_closed() == 1012
        await process.until_gone()
    assert (await until_run(asked.reply, lambda run: True)).owner == ""


@asynccontextmanager
async def unreachable() -> AsyncIterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        yield f"http://127.0.0.1:{address[1]}/v1"
        for filler in fillers:
            filler.close()


# Two processes


@pytest.mark.services
async def test_another_process_takes_over_what_was_given_back_while_the_first_still_speaks(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    first, _ = await asyncio.gather(start_process(CHAT_DRAIN_SECONDS=LONG, CHAT_SILENCE_SECONDS=LONG), start_process())
    async with talking(first, alice, conversation, upstream) as (tab, reply):
        others: Any = [await database_sync_to_async(Conversation.start)(alice) for _ in range(2)]
        waiting, late = [await tab_on(first, alice, other) for other in others]
        upstream.answer(Script(before=[Stall()]), many(20), many(20))
        asked = await waiting.ask("Anybody?")
        await upstream.until_asked(2)
        first.terminate()
        assert (await waiting.until_ended(asked.reply))["status"] == "done"
        # What is asked of the one that ends is answered by the other.
        asked = await late.ask("And now?")
        assert (await late.until_ended(asked.reply))["status"] == "done"
        upstream.posts[0].go_on()
        assert (await tab.until_ended(reply))["status"] == "done"
        for other in (waiting, late):
            assert await other.until_closed() == 1012
            assert other.wrongs == []
    await first.until_gone()
    assert len(upstream.posts) == 4


def test_the_two_bounds_fit_into_what_service_managers_wait_for() -> None:
    """docker-compose.yml and the unit of docs/deploy.md give 20 seconds, and drainSeconds is 5."""
    assert Config().drain_seconds + SECONDS_TO_LEAVE < 20


# What a signal means


@pytest.fixture
async def told(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """What a process is told, in order. It takes its time to stop."""
    said: list[str] = []
    stopped = asyncio.Event()

    async def stop() -> None:
        said.append("stop")
        await stopped.wait()

    monkeypatch.setattr(streaming_process, "stop", stop)
    monkeypatch.setattr(streaming_process, "hurry", lambda: said.append("hurry"))
    monkeypatch.setattr(shutdown, "leave_after", lambda seconds: said.append("leave"))
    yield said
    stopped.set()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("seconds", "heard"),
    [
        ([0], ["leave", "stop"]),
        ([0, 0.1, 0.9], ["leave", "stop"]),
        ([0, 1.5], ["leave", "stop", "hurry"]),
        ([0, 0.1, 1.5], ["leave", "stop", "hurry"]),
        ([0, 1.5, 1.6], ["leave", "stop", "hurry", "theirs"]),
    ],
)
async def test_the_first_wish_ends_the_second_hurries_the_third_is_the_servers(
    told: list[str], monkeypatch: pytest.MonkeyPatch, seconds: list[float], heard: list[str]
) -> None:
    asked = shutdown.Shutdown(lambda number: told.append("theirs"))
    for at in seconds:
        monkeypatch.setattr(shutdown, "now", lambda at=at: at)
        asked.receive(signal.SIGTERM)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert told == heard


def test_a_process_that_cannot_end_leaves() -> None:
    """Whatever its threads wait for: this one would, for ever."""
    hangs = "from streaming import shutdown; shutdown.leave_after(0.1); import threading; threading.Event().wait()"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", hangs],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "could not end in time" in done.stderr
