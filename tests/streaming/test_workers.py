"""Replies in processes of their own: the web may be restarted while they stream, and nobody waits where no worker is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation, Message
from streaming.duty import SECONDS_FOR_WORKERS
from streaming.models import Run
from tests.conftest import StartProcess
from tests.processes import ROOT, ServerProcess
from tests.scripts import Hold, Script, Stall, many
from tests.streaming.test_kill import TERMINAL, move, says_why, tab_on, until_status
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

#: A look is a second away, and a busy machine takes its time.
SLACK_SECONDS = 5.0
#: What is not promised for a moment may take as long as the start of a program on a busy machine.
BUSY_SECONDS = 30.0


async def owner_of(reply: str) -> int:
    """The number of the process that runs a reply."""
    run = await Run.objects.aget(reply_id=int(reply))
    return int(run.owner.split("/")[2])


def pid_of(process: ServerProcess) -> int:
    assert process.process is not None
    return process.process.pid


async def test_the_web_is_restarted_while_a_worker_streams(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    web, worker = await asyncio.gather(
        start_process(CHAT_REPLIES_IN="workers"), start_process("worker", CHAT_SILENCE_SECONDS="600")
    )
    upstream.answer(Script(["One, ", Hold(), "two, ", Hold(), "three."]))
    tab = await tab_on(web, alice, conversation)
    asked = await tab.ask("Count")
    await tab.until(lambda: tab.texts.get(asked.reply), BUSY_SECONDS)
    assert await owner_of(asked.reply) == pid_of(worker)
    web.terminate()
    assert await tab.until_closed(BUSY_SECONDS) == 1012
    upstream.posts[0].go_on()
    await web.until_gone()
    await web.astart()
    move(tab, web)
    await tab.resume()
    await tab.until(lambda: tab.texts[asked.reply] == "One, two, ", BUSY_SECONDS)
    upstream.posts[0].go_on()
    assert (await tab.until_ended(asked.reply, BUSY_SECONDS))["status"] == "done"
    assert tab.texts[asked.reply] == "One, two, three."
    await tab.close()
    assert tab.wrongs == []
    assert len(upstream.posts) == 1


async def test_stop_reaches_a_worker(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    web, _ = await asyncio.gather(start_process(CHAT_REPLIES_IN="workers"), start_process("worker"))
    upstream.answer(Script(["Hello", Stall()]))
    tab = await tab_on(web, alice, conversation)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply)
    stopped = time.monotonic()
    await tab.command("stop_reply", reply=asked.reply)
    assert await upstream.posts[0].until_closed() - stopped < 1 + SLACK_SECONDS
    assert (await tab.until_ended(asked.reply))["status"] == "stopped"
    await tab.close()


async def test_where_no_worker_is_the_web_helps_out_and_stops_at_once(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    web = await start_process(CHAT_REPLIES_IN="workers")
    tab = await tab_on(web, alice, conversation)
    asked = await tab.ask("Nobody is to answer this")
    await tab.command("stop_reply", reply=asked.reply)
    assert (await tab.until_ended(asked.reply, seconds=SECONDS_FOR_WORKERS))["status"] == "stopped"
    asked = await tab.ask("Hello")
    began = time.monotonic()
    assert (await tab.until_ended(asked.reply, seconds=30))["status"] == "done"
    assert SECONDS_FOR_WORKERS - 1 < time.monotonic() - began < SECONDS_FOR_WORKERS + SLACK_SECONDS
    assert [post.asked for post in upstream.posts] == ["Hello"]
    assert await owner_of(asked.reply) == pid_of(web)
    await tab.close()


async def test_what_a_dead_worker_was_writing_is_ended_by_the_web(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    web, worker = await asyncio.gather(start_process(CHAT_REPLIES_IN="workers"), start_process("worker"))
    upstream.answer(Script(["Hello", Stall()]))
    tab = await tab_on(web, alice, conversation)
    spoken = await tab.ask("Talk")
    await tab.until_said(spoken.reply)
    worker.kill()
    ended = await tab.until_ended(spoken.reply, seconds=15)
    assert ended["status"] == "interrupted"
    kept = await Message.objects.aget(pk=int(spoken.reply))
    assert says_why(kept)
    assert kept.text == tab.texts[spoken.reply] == "Hello"
    await tab.close()


async def test_a_worker_that_is_asked_to_end_finishes_and_another_goes_on(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    first = await start_process(
        "worker", CHAT_DRAIN_SECONDS="600", CHAT_FIRST_TOKEN_SECONDS="600", CHAT_SILENCE_SECONDS="600"
    )
    upstream.answer(Script(["One, ", Hold(), "two."]), Script(before=[Stall()]), Script(["Here."]))
    spoken = (await database_sync_to_async(conversation.post)(alice, "Count", "client-1")).reply
    await upstream.until_asked(1, seconds=30)
    await until_status(str(spoken.pk), {"streaming"}, seconds=30)
    other = await database_start(alice)
    silent = (await database_sync_to_async(other.post)(alice, "Anybody?", "client-2")).reply
    await upstream.until_asked(2, seconds=30)
    second = await start_process("worker")
    first.terminate()
    # What it had not begun to answer is the other's at once; what it says it says to the end.
    kept = await until_status(str(silent.pk), TERMINAL, seconds=30)
    assert (kept.status, kept.text) == ("done", "Here.")
    assert await owner_of(str(silent.pk)) == pid_of(second)
    upstream.posts[0].go_on()
    kept = await until_status(str(spoken.pk), TERMINAL, seconds=30)
    assert (kept.status, kept.text) == ("done", "One, two.")
    assert await first.until_gone() == 0
    assert "Replies are run here" in first.log()
    assert "All replies of this process have ended or were given back." in first.log()


async def database_start(user: User) -> Conversation:
    started: Conversation = await database_sync_to_async(Conversation.start)(user)
    return started


async def test_the_demo_answers_from_a_worker(
    start_process: StartProcess, alice: User, conversation: Conversation
) -> None:
    web, worker = await asyncio.gather(
        start_process(CHAT_REPLIES_IN="workers", OPENAI_BASE_URL="", OPENAI_API_KEY="", CHAT_MODELS=""),
        start_process("worker", OPENAI_BASE_URL="", OPENAI_API_KEY="", CHAT_MODELS=""),
    )
    tab = await tab_on(web, alice, conversation)
    asked = await tab.ask("Hello")
    assert (await tab.until_ended(asked.reply, seconds=60))["status"] == "done"
    assert "demo" in tab.texts[asked.reply]
    assert await owner_of(asked.reply) == pid_of(worker)
    await tab.close()


async def test_a_worker_shows_that_it_lives(start_process: StartProcess) -> None:
    worker = await start_process("worker")
    seen = Path(worker.alive).stat().st_mtime_ns
    async with asyncio.timeout(30):
        while Path(worker.alive).stat().st_mtime_ns == seen:
            await asyncio.sleep(0.1)


@pytest.mark.django_db
def test_a_worker_without_its_database_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "runreplies"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": "postgresql://parley:hunter2@127.0.0.1:1/parley"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "The database cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.services
async def test_replies_are_spread_and_none_is_run_twice(
    start_process: StartProcess, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    await asyncio.gather(start_process("worker"), start_process("worker"), start_process(CHAT_REPLIES_IN="workers"))
    upstream.always(lambda request: many(20, pace=0.01, seed=request.asked))
    replies = []
    for number in range(20):
        other = await database_start(alice)
        replies.append((await database_sync_to_async(other.post)(alice, f"reply-{number}", "client-1")).reply.pk)
    for number, pk in enumerate(replies):
        kept = await until_status(str(pk), TERMINAL, seconds=30)
        assert (kept.status, kept.text) == ("done", many(20, seed=f"reply-{number}").text)
    assert len(upstream.posts) == 20
