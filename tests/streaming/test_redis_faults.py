"""A Redis that is killed, emptied, paused, cut off and absent, under two processes: it is a hint, and no more.

No socket is lost, no text, and nothing comes later than the second's look at the database; afterwards hints are used
again. Further cases are in `test_two_processes.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation
from tests.conftest import StartProcess
from tests.processes import ServerProcess
from tests.scripts import Script, Stall, many
from tests.services import RedisServer
from tests.streaming.conftest import TabOn
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

#: How long a fault lasts.
FAULT = 4.0
#: The look at the database once a second, and what a busy machine adds.
LATEST = 1.0 + 2.0
#: Until hints are used again: what is dead shows after two echoes, and then a connection has to be made.
RECOVERY = 40.0

Fault = Callable[[RedisServer], Coroutine[Any, Any, None]]


async def restarted_empty(redis: RedisServer) -> None:
    redis.kill()
    await asyncio.sleep(FAULT)
    await redis.astart()


async def paused(redis: RedisServer) -> None:
    redis.pause()
    await asyncio.sleep(FAULT)
    redis.resume()


async def cut_off(redis: RedisServer) -> None:
    cut = 0
    for _ in range(8):
        cut += redis.cut_connections()
        await asyncio.sleep(FAULT / 8)
    assert cut > 4


async def emptied(redis: RedisServer) -> None:
    for _ in range(8):
        with redis.client() as client:
            client.flushall()
        await asyncio.sleep(FAULT / 8)


FAULTS: dict[str, Fault] = {
    "restarted empty": restarted_empty,
    "paused": paused,
    "cut off": cut_off,
    "emptied": emptied,
}


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """A Redis of this test alone."""
    server = RedisServer()
    await server.astart()
    yield server
    server.remove()


@pytest.fixture
async def two(redis: RedisServer, start_process: StartProcess) -> tuple[ServerProcess, ServerProcess]:
    return await start_process(REDIS_URL=redis.url), await start_process(REDIS_URL=redis.url)


@pytest.fixture
async def tabs(
    two: tuple[ServerProcess, ServerProcess], tab_on: TabOn, alice: User, conversation: Conversation
) -> tuple[Tab, Tab]:
    """One tab on each process."""
    return await tab_on(two[0], alice, conversation), await tab_on(two[1], alice, conversation)


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_by_a_redis_that_is(
    fault: str, tabs: tuple[Tab, Tab], redis: RedisServer, upstream: Upstream
) -> None:
    here, elsewhere = tabs
    script = many(500, pace=0.02)
    upstream.answer(script)
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply, 500)
    await FAULTS[fault](redis)
    for tab in tabs:
        assert (await tab.until_ended(asked.reply, seconds=60))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
        assert tab.close_code is None
    assert longest_pause(elsewhere) < LATEST
    await until_hints_are_used(here, elsewhere, upstream)


def longest_pause(tab: Tab) -> float:
    """The longest time without a delta between two."""
    at = [event.at for event in tab.of_type("reply_delta")]
    return max(later - earlier for earlier, later in itertools.pairwise(at))


async def until_hints_are_used(here: Tab, elsewhere: Tab, upstream: Upstream) -> None:
    """By the look at the database there would be one delta a second."""
    async with asyncio.timeout(RECOVERY):
        while True:
            upstream.answer(many(40, pace=0.02))
            asked = await here.ask("And now?")
            await elsewhere.until_ended(asked.reply)
            if len(elsewhere.of_type("reply_delta", reply=asked.reply)) > 10:
                return


async def test_a_redis_that_is_absent_at_the_start_is_used_as_soon_as_it_is_there(
    redis: RedisServer,
    start_process: StartProcess,
    tab_on: TabOn,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
) -> None:
    redis.kill()
    two = [await start_process(REDIS_URL=redis.url) for _ in range(2)]
    here, elsewhere = [await tab_on(process, alice, conversation) for process in two]
    script = many(50, pace=0.05)
    upstream.answer(script)
    asked = await here.ask("Talk")
    await elsewhere.until_ended(asked.reply)
    assert elsewhere.texts[asked.reply] == script.text
    assert {tab.close_code for tab in (here, elsewhere)} == {None}
    await redis.astart()
    await until_hints_are_used(here, elsewhere, upstream)


async def test_a_process_without_redis_is_healthy_and_says_what_it_lacks(
    two: tuple[ServerProcess, ServerProcess], redis: RedisServer
) -> None:
    redis.pause()

    def health() -> dict[str, Any]:
        with urllib.request.urlopen(f"{two[0].url}/health/", timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    assert await asyncio.to_thread(health) == {"status": "degraded", "reasons": {"channel layer": "no answer"}}


async def test_a_redis_that_answers_no_more_does_not_hold_up_the_end_of_a_process(
    two: tuple[ServerProcess, ServerProcess], tabs: tuple[Tab, Tab], redis: RedisServer, upstream: Upstream
) -> None:
    upstream.answer(Script(["Hello", Stall()]))
    asked = await tabs[0].ask("Talk")
    await tabs[0].until_said(asked.reply)
    redis.pause()
    began = time.monotonic()
    two[0].terminate()
    assert await tabs[0].until_closed() == 1012
    await two[0].until_gone()
    # Each of the steps on its way out waits two seconds at the most.
    assert time.monotonic() - began < 15
    redis.resume()
    assert (await tabs[1].until_ended(asked.reply))["status"] == "interrupted"
