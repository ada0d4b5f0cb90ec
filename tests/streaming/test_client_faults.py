"""Clients whose line goes dead, who sleep, and who all come back at once. Slow readers are in `test_buffers.py`."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation
from streaming import process
from streaming.events import Close
from tests.conftest import Chat, LiveServer, OpenTab, StartProcess, asession_of
from tests.line import Line
from tests.scripts import many
from tests.streaming.test_kill import TERMINAL, move, until_status
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

#: A delta comes every 20 ms; whoever is not concerned waits no longer than this, also on a machine that is busy.
LATEST = 2.0


def longest_pause(tab: Tab) -> float:
    at = [event.at for event in tab.of_type("reply_delta")]
    return max(later - earlier for earlier, later in itertools.pairwise(at))


async def test_a_tab_whose_packets_vanish_is_let_go_and_nobody_else_notices(
    server: LiveServer, open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream, chat: Chat
) -> None:
    chat(buffer_bytes=4096, ack_seconds=0.5)
    script = many(200, pace=0.02)
    upstream.answer(script)
    other = await open_tab(alice, conversation)
    dark = await server.tab(alice, conversation)
    async with Line(dark) as line:
        await dark.open()
        asked = await dark.ask("Talk")
        await dark.until_said(asked.reply, 500)
        line.go_dead()
        assert (await other.until_ended(asked.reply, 30))["status"] == "done"
        assert longest_pause(other) < LATEST
        assert other.texts[asked.reply] == script.text
        async with asyncio.timeout(10):
            while readers_of(alice) > 1:
                await asyncio.sleep(0.05)
        assert len(dark.texts[asked.reply]) < len(script.text)
        await dark.cut()
        line.go_round()
        await dark.resume()
        await dark.until_ended(asked.reply)
    assert dark.texts[asked.reply] == script.text
    assert dark.wrongs == []
    await dark.close()


def readers_of(user: User) -> int:
    here = process.current()
    assert here is not None
    return here.hub.readers_of(user.pk)


@pytest.mark.parametrize("ack_seconds", [0.5, 30.0])
async def test_a_tab_that_sleeps_and_wakes_up_has_all_of_it(
    server: LiveServer,
    open_tab: OpenTab,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
    chat: Chat,
    ack_seconds: float,
) -> None:
    """On the same socket where it slept less long than it may, on a new one else."""
    chat(buffer_bytes=4096, ack_seconds=ack_seconds)
    script = many(200, pace=0.01)
    upstream.answer(script)
    other = await open_tab(alice, conversation)
    asleep = await server.tab(alice, conversation)
    async with Line(asleep) as line:
        await asleep.open()
        asked = await asleep.ask("Talk")
        await asleep.until_said(asked.reply, 500)
        line.go_dead()
        await other.until_ended(asked.reply, 30)
        await asyncio.sleep(3)
        line.repair()
        if ack_seconds < 3:
            assert await asleep.until_closed() == Close.TOO_SLOW
            await asleep.resume()
        await asleep.until_ended(asked.reply)
        assert asleep.texts[asked.reply] == script.text
        assert (asleep.close_code, asleep.wrongs) == (None, [])
        await asleep.close()


# Everybody at once

CROWD = 300
USERS = 20
REPLIES = 5
DELAYS = (0.2, 0.5, 1, 2, 4, 8, 15)
#: From the moment the server serves again until the last of the crowd is back and up to date: the longest delay of a
#: client who tried in vain for long, and as much again for a machine that is busy.
BACK_SECONDS = 2 * 1.5 * DELAYS[-1]


async def come_back(tab: Tab, chance: random.Random, serves: asyncio.Event) -> list[str]:
    """As a page does, with the delays of the protocol; what went wrong although the server served already."""
    failures = []
    for attempt in itertools.count():
        await asyncio.sleep(DELAYS[min(attempt, len(DELAYS) - 1)] * (0.5 + chance.random()))
        serves_already = serves.is_set()
        try:
            await tab.resume()
            pong = await tab.send("ping")
            await tab.wait_for("pong", ref=pong, seconds=BACK_SECONDS)
            break
        except Exception as error:  # whatever it is, a page tries again
            if serves_already:
                failures.append(repr(error))
    return failures


@pytest.mark.quiet
async def test_three_hundred_who_lose_the_server_at_once_are_all_back_within_seconds(
    start_process: StartProcess, make_user: Callable[[str], User], upstream: Upstream
) -> None:
    upstream.always(lambda request: many(3000, pace=0.02, seed=request.asked))
    server = await start_process()
    tabs = await crowd(server.url, make_user)
    gate = asyncio.Semaphore(30)

    async def look(tab: Tab) -> None:
        async with gate:
            await tab.open()
            await tab.wait_for("conversation_snapshot", seconds=60)

    await asyncio.gather(*(look(tab) for tab in tabs))
    asked = [(tabs[number], await tabs[number].ask(f"reply-{number}")) for number in range(REPLIES)]
    for tab, (_, reply) in asked:
        await tab.until_said(reply, 200)
    server.kill()
    await asyncio.gather(*(tab.until_closed() for tab in tabs))
    for tab in tabs:
        move(tab, server)
    chance = random.Random(1)
    serves = asyncio.Event()
    coming = [asyncio.create_task(come_back(tab, chance, serves)) for tab in tabs]
    await server.astart()
    serves.set()
    began = time.monotonic()
    failures = list(itertools.chain(*await asyncio.gather(*coming)))
    assert time.monotonic() - began < BACK_SECONDS
    assert failures == []
    for tab, (_, reply) in asked:
        kept = await until_status(reply, TERMINAL, BACK_SECONDS)
        assert kept.text
        same = [each for each in tabs if each.url == tab.url]
        assert len(same) == CROWD // USERS
        for each in same:
            assert (await each.until_ended(reply, BACK_SECONDS))["status"] == "interrupted"
            assert each.texts[reply] == kept.text
    assert {tab.close_code for tab in tabs} == {None}
    assert [wrong for tab in tabs for wrong in tab.wrongs] == []
    await asyncio.gather(*(tab.close() for tab in tabs))


async def crowd(url: str, make_user: Callable[[str], User]) -> list[Tab]:
    """Tabs that are not open yet: of twenty people, each with one conversation and many tabs."""
    tabs: list[Tab] = []
    for number in range(USERS):
        user = await database_sync_to_async(make_user)(f"person-{number}")
        conversation: Conversation = await database_sync_to_async(Conversation.start)(user)
        cookie = f"parley_session={await asession_of(user)}"
        tabs += [await LiveServer(url).tab(None, conversation, cookie=cookie) for _ in range(CROWD // USERS)]
    # The first of each person come first.
    return [tab for first in range(CROWD // USERS) for tab in tabs[first :: CROWD // USERS]]
