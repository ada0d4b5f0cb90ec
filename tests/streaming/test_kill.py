"""`kill -9` and `kill`: what anybody saw stays a prefix of what is kept, and every reply comes to an honest end."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation, Message
from tests.conftest import SLACK_SECONDS, LiveServer, StartProcess
from tests.processes import ServerProcess
from tests.scripts import Script, Stall, many
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
Kind = Literal["uvicorn", "daphne"]


async def tab_on(process: ServerProcess, user: User, conversation: Conversation, **options: Any) -> Tab:
    tab = await LiveServer(process.url).tab(user, conversation, **options)
    await tab.open()
    await tab.wait_for("conversation_snapshot")
    return tab


async def until_status(reply: str, statuses: set[str], seconds: float) -> Message:
    """What is kept, as soon as it has one of these states. Nobody but the database can be asked: the server is dead."""
    deadline = time.monotonic() + seconds
    while True:
        message = await Message.objects.aget(pk=reply)
        if message.status in statuses:
            return message
        assert time.monotonic() < deadline, f"still {message.status} after {seconds} s"
        await asyncio.sleep(0.05)


def says_why(reply: Message) -> bool:
    return reply.error is not None and reply.error["detail"].endswith(".")


TERMINAL = {"done", "stopped", "interrupted", "failed"}


@KINDS
async def test_what_was_seen_before_a_kill_is_a_prefix_of_what_is_kept(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream, kind: Kind
) -> None:
    upstream.answer(many(2000, pace=0.002))
    process = await start_process(kind)
    tabs = [await tab_on(process, alice, conversation) for _ in range(2)]
    asked = await tabs[0].ask("Talk")
    for tab in tabs:
        await tab.until_said(asked.reply, 1000)
    process.kill()
    for tab in tabs:
        await tab.until_closed()
    await upstream.posts[0].until_closed()

    restarted = time.monotonic()
    await process.astart()
    took = time.monotonic() - restarted
    kept = await until_status(asked.reply, TERMINAL, seconds=took + 1 + SLACK_SECONDS)
    assert kept.status == "interrupted"
    assert says_why(kept)
    for tab in tabs:
        assert kept.text.startswith(tab.texts[asked.reply])
        assert upstream.posts[0].text.startswith(kept.text)
        move(tab, process)
        await tab.resume()
        ended = await tab.until_ended(asked.reply)
        assert ended["status"] == "interrupted"
        assert tab.texts[asked.reply] == kept.text
        assert tab.wrongs == []
        await tab.close()
    # Nobody asked a second time for what had begun to be said.
    assert len(upstream.posts) == 1


def move(tab: Tab, process: ServerProcess) -> None:
    """From now on this tab talks to that process."""
    path = tab.url[tab.url.index("/ws/") :]
    tab.url = process.url.replace("http", "ws", 1) + path
    tab.origin = process.url


async def test_a_restarted_process_ends_what_it_left_behind_within_a_second(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.answer(Script(["Hello", Stall()]))
    process = await start_process()
    tab = await tab_on(process, alice, conversation)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply)
    process.kill()
    await process.astart()
    await until_status(asked.reply, {"interrupted"}, seconds=1 + SLACK_SECONDS)


async def test_a_reply_that_was_queued_when_the_server_died_is_answered_after_a_restart(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.answer(Script(before=[Stall()]))
    process = await start_process()
    tab = await tab_on(process, alice, conversation)
    asked = await tab.ask("Talk")
    await upstream.until_asked()
    process.kill()
    await tab.until_closed()
    await process.astart()
    kept = await until_status(asked.reply, TERMINAL, seconds=10)
    # No byte of an answer had come, so it may be asked for again; an honest failure would do as well.
    assert kept.status in ("done", "failed")
    move(tab, process)
    await tab.resume()
    await tab.until_ended(asked.reply)
    assert tab.texts.get(asked.reply, "") == kept.text
    await tab.close()


async def test_a_message_that_nobody_was_told_of_any_more_is_answered_after_a_restart(
    start_process: StartProcess, alice: User, conversation: Conversation
) -> None:
    """Committed by a process that died before it could start the reply."""
    exchange = await database_sync_to_async(conversation.post)(alice, "Hello", "client-1")
    await start_process()
    kept = await until_status(str(exchange.reply.pk), TERMINAL, seconds=10)
    assert (kept.status, kept.text) == ("done", "You said: Hello")


@KINDS
async def test_a_terminated_server_ends_its_replies_and_says_bye(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream, kind: Kind
) -> None:
    upstream.answer(Script(["Hello", Stall()]))
    process = await start_process(kind)
    tab = await tab_on(process, alice, conversation)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply)
    process.terminate()
    # daphne's library does not let an application say 1012.
    assert await tab.until_closed() == {"uvicorn": 1012, "daphne": 1000}[kind]
    assert (await tab.wait_for("bye"))["after_ms"] >= 0
    await process.until_gone()
    kept = await Message.objects.aget(pk=asked.reply)
    assert (kept.status, kept.text) == ("interrupted", "Hello")
    assert says_why(kept)
    await upstream.posts[0].until_closed()


@KINDS
async def test_a_terminated_server_lets_a_short_reply_come_to_its_end(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream, kind: Kind
) -> None:
    upstream.answer(many(40, pace=0.02))
    process = await start_process(kind, CHAT_DRAIN_SECONDS="10")
    tab = await tab_on(process, alice, conversation)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply)
    process.terminate()
    await process.until_gone()
    kept = await Message.objects.aget(pk=asked.reply)
    assert (kept.status, kept.text) == ("done", many(40).text)


# Two processes


@pytest.fixture
async def two(start_process: StartProcess) -> tuple[ServerProcess, ServerProcess]:
    return await start_process(), await start_process()


@pytest.mark.services
async def test_another_process_ends_the_replies_of_a_dead_one(
    two: tuple[ServerProcess, ServerProcess], alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    first, second = two
    upstream.answer(many(2000, pace=0.002))
    writer = await tab_on(first, alice, conversation)
    reader = await tab_on(second, alice, conversation)
    asked = await writer.ask("Talk")
    for tab in (writer, reader):
        await tab.until_said(asked.reply, 1000)
    first.kill()
    ended = await reader.until_ended(asked.reply, seconds=15)
    kept = await Message.objects.aget(pk=asked.reply)
    assert ended["status"] == kept.status == "interrupted"
    assert reader.texts[asked.reply] == kept.text
    assert kept.text.startswith(writer.texts[asked.reply])
    assert len(upstream.posts) == 1
    move(writer, second)
    await writer.resume()
    await writer.until_ended(asked.reply)
    assert writer.texts[asked.reply] == kept.text
    for tab in (writer, reader):
        await tab.close()
        assert tab.wrongs == []


@pytest.mark.services
async def test_a_paused_owner_that_wakes_up_writes_nothing_more(
    two: tuple[ServerProcess, ServerProcess], alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    first, second = two
    upstream.answer(many(100_000, pace=0.002))
    writer = await tab_on(first, alice, conversation)
    reader = await tab_on(second, alice, conversation)
    asked = await writer.ask("Talk")
    await reader.until_said(asked.reply, 1000)
    first.pause()
    ended = await reader.until_ended(asked.reply, seconds=30)
    kept = await Message.objects.aget(pk=asked.reply)
    first.resume()
    await upstream.posts[0].until_closed(seconds=10)
    assert (await writer.until_ended(asked.reply))["sha256"] == ended["sha256"]
    assert (await Message.objects.aget(pk=asked.reply)).text == kept.text
    for tab in (writer, reader):
        await tab.close()
        assert tab.wrongs == []


@pytest.mark.services
async def test_a_reply_that_another_process_has_taken_over_is_followed_where_it_began(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    """Its first owner slept before a word had come, so the next one asks for it: no longer its own, it is a reader."""
    first, _ = [await start_process(CHAT_LEASE_SECONDS="2", CHAT_FIRST_TOKEN_SECONDS="60") for _ in range(2)]
    script = many(300, pace=0.03)
    upstream.answer(Script(before=[Stall()]), script)
    reader = await tab_on(first, alice, conversation)
    asked = await reader.ask("Talk")
    await upstream.until_asked()
    first.pause()
    await upstream.until_asked(2, seconds=20)
    first.resume()
    await upstream.posts[0].until_closed()
    await reader.until_said(asked.reply, 500)
    assert reader.endings[asked.reply] == []
    assert (await reader.until_ended(asked.reply, seconds=30))["status"] == "done"
    assert reader.texts[asked.reply] == script.text
    assert reader.wrongs == []
    await reader.close()
