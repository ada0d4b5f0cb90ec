"""Several processes on one PostgreSQL and one Redis: it does not matter which of them is asked."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation, Message
from streaming.layer import ANSWER_SECONDS
from tests.conftest import SLACK_SECONDS, LiveServer, StartProcess, csrf_client
from tests.processes import ServerProcess
from tests.scripts import Hold, Script, Stall, many, too_fast
from tests.services import RedisServer
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """A Redis of this test alone, to be killed."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def two(redis: RedisServer, start_process: StartProcess) -> tuple[ServerProcess, ServerProcess]:
    first, second = await asyncio.gather(start_process(REDIS_URL=redis.url), start_process(REDIS_URL=redis.url))
    return first, second


@pytest.fixture
async def tabs(
    two: tuple[ServerProcess, ServerProcess], alice: User, conversation: Conversation
) -> AsyncIterator[tuple[Tab, Tab]]:
    """One tab on each process."""
    opened = []
    for process in two:
        tab = await LiveServer(process.url).tab(alice, conversation)
        await tab.open()
        await tab.wait_for("conversation_snapshot")
        opened.append(tab)
    yield opened[0], opened[1]
    for tab in opened:
        await tab.close()
        assert tab.wrongs == []


async def test_a_reader_elsewhere_gets_every_character(tabs: tuple[Tab, Tab], upstream: Upstream) -> None:
    here, elsewhere = tabs
    script = many(300, pace=0.005)
    upstream.answer(script)
    asked = await here.ask("Talk")
    for tab in tabs:
        assert (await tab.until_ended(asked.reply))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
    assert elsewhere.messages[asked.message]["text"] == "Talk"
    # By hints, not by the second's look at the store.
    assert len(elsewhere.of_type("reply_delta")) > 50


async def test_a_reader_elsewhere_waits_no_longer_than_a_moment(tabs: tuple[Tab, Tab], upstream: Upstream) -> None:
    here, elsewhere = tabs
    upstream.answer(many(100, pace=0.02))
    asked = await here.ask("Talk")
    await asyncio.gather(*(tab.until_ended(asked.reply) for tab in tabs))
    came = {event["end"]: event.at for event in here.of_type("reply_delta")}
    late = sorted(event.at - came[event["end"]] for event in elsewhere.of_type("reply_delta") if event["end"] in came)
    assert len(late) > 20
    # By the second's look at the store it would be half a second, and far fewer.
    assert late[len(late) // 2] < 0.4


async def test_stop_from_elsewhere_closes_the_upstream_within_a_second(
    tabs: tuple[Tab, Tab], upstream: Upstream
) -> None:
    here, elsewhere = tabs
    upstream.answer(Script(["Hello", Stall()]))
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply)
    stopped = time.monotonic()
    await elsewhere.command("stop_reply", reply=asked.reply)
    assert await upstream.posts[0].until_closed() - stopped < 1 + SLACK_SECONDS
    for tab in tabs:
        assert (await tab.until_ended(asked.reply))["status"] == "stopped"
        assert tab.texts[asked.reply] == "Hello"


async def test_every_command_may_be_given_to_the_process_that_does_not_run_the_reply(
    tabs: tuple[Tab, Tab], upstream: Upstream
) -> None:
    here, elsewhere = tabs
    upstream.answer(Script(["One, ", Hold(), "two."]), Script(["Again."]), Script(["and on."]), Script(["Other."]))
    asked = await here.ask("Count")
    await elsewhere.until_said(asked.reply)
    # What runs over there is told from the beginning, to a tab that has lost all of it.
    elsewhere.texts[asked.reply] = ""
    await elsewhere.sync_reply(asked.reply)
    await elsewhere.until_said(asked.reply, len("One, "))
    await elsewhere.command("rename_conversation", title="Renamed elsewhere")
    await elsewhere.command("stop_reply", reply=asked.reply)
    await until_both_ended(tabs, asked.reply, "stopped")
    retried = (await elsewhere.command("retry_reply", reply=asked.reply, client_id="retry"))["reply"]
    await until_both_ended(tabs, retried, "done")
    continued = (await elsewhere.command("continue_reply", reply=asked.reply, client_id="continue"))["reply"]
    await until_both_ended(tabs, continued, "done")
    edited = await elsewhere.command("edit_message", message=asked.message, client_id="edit", text="Count again")
    await until_both_ended(tabs, edited["reply"], "done")
    await elsewhere.command("select_branch", message=asked.message)
    await asyncio.gather(*(tab.until(lambda tab=tab: tab.conversation["head"] == continued) for tab in tabs))  # type: ignore[misc]
    assert here.texts == elsewhere.texts
    assert here.texts[continued] == "One, and on."
    assert [tab.conversation["title"] for tab in tabs] == ["Renamed elsewhere"] * 2
    assert here.version == elsewhere.version


async def until_both_ended(tabs: tuple[Tab, Tab], reply: str, status: str) -> None:
    for tab in tabs:
        assert (await tab.until_ended(reply))["status"] == status


async def test_a_wait_is_visible_elsewhere(tabs: tuple[Tab, Tab], upstream: Upstream) -> None:
    here, elsewhere = tabs
    upstream.answer(too_fast("3"), Script(["At last."]))
    asked = await here.ask("Talk")
    assert (await elsewhere.wait_for("reply_waiting", reply=asked.reply))["reason"]
    # It is not what comes with the end.
    assert len(upstream.posts) == 1
    await elsewhere.until_ended(asked.reply)


async def test_one_client_id_on_two_processes_is_one_message(tabs: tuple[Tab, Tab], upstream: Upstream) -> None:
    for number in range(10):
        asked = await asyncio.gather(*(tab.ask("Once", client_id=f"client-{number}") for tab in tabs))
        assert asked[0] == asked[1]
        await asyncio.gather(*(tab.until_ended(asked[0].reply) for tab in tabs))
    assert await Message.objects.acount() == 20
    assert len(upstream.posts) == 10


async def test_signing_out_here_ends_sockets_elsewhere_within_a_second(
    two: tuple[ServerProcess, ServerProcess], alice: User, conversation: Conversation
) -> None:
    here, elsewhere = (LiveServer(process.url) for process in two)
    async with csrf_client(here, alice) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        tab = await elsewhere.tab(None, conversation, cookie=cookie)
        await tab.open()
        await tab.wait_for("conversation_snapshot")
        assert (await client.post("/accounts/logout/")).status_code == 302
        assert await tab.until_closed(seconds=1 + SLACK_SECONDS) == 4401


# Redis is a hint and the database the truth


async def test_a_redis_that_dies_in_the_middle_loses_no_text(
    tabs: tuple[Tab, Tab], upstream: Upstream, redis: RedisServer
) -> None:
    here, elsewhere = tabs
    script = many(400, pace=0.01)
    upstream.answer(script)
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply, 500)
    redis.kill()
    before = len(elsewhere.of_type("reply_delta"))
    for tab in tabs:
        assert (await tab.until_ended(asked.reply, seconds=20))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
    # It came by the second's look at the store, not all at the end.
    assert len(elsewhere.of_type("reply_delta")) - before > 1


def max_pause(tab: Tab) -> float:
    """The longest time without a delta between two."""
    at = [event.at for event in tab.of_type("reply_delta")]
    return max(later - earlier for earlier, later in itertools.pairwise(at))


async def test_without_redis_everything_still_works(
    two: tuple[ServerProcess, ServerProcess],
    alice: User,
    conversation: Conversation,
    redis: RedisServer,
    upstream: Upstream,
) -> None:
    redis.kill()
    upstream.answer(Script(["Hello", Stall()]), many(10))
    tabs = [await LiveServer(process.url).tab(alice, conversation) for process in two]
    for tab in tabs:
        await tab.open()
        await tab.wait_for("conversation_snapshot")
    here, elsewhere = tabs
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply)
    await elsewhere.command("stop_reply", reply=asked.reply)
    for tab in tabs:
        assert (await tab.until_ended(asked.reply))["status"] == "stopped"
        await tab.close()
    await upstream.posts[0].until_closed()


async def test_a_redis_that_comes_back_is_used_again(
    tabs: tuple[Tab, Tab], upstream: Upstream, redis: RedisServer
) -> None:
    here, elsewhere = tabs
    redis.kill()
    await here.until_ended((await here.ask("Without")).reply)
    redis.start()
    for _ in range(20):
        upstream.answer(many(40, pace=0.02))
        asked = await here.ask("With")
        await asyncio.gather(*(tab.until_ended(asked.reply) for tab in tabs))
        if len(elsewhere.of_type("reply_delta", reply=asked.reply)) > 10:
            return
    pytest.fail("hints never came back")


async def test_a_redis_that_answers_no_more_holds_up_nobody(
    tabs: tuple[Tab, Tab], upstream: Upstream, redis: RedisServer
) -> None:
    here, elsewhere = tabs
    script = many(200, pace=0.01)
    upstream.answer(script)
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply, 500)
    redis.pause()
    for tab in tabs:
        assert (await tab.until_ended(asked.reply, seconds=20))["status"] == "done"
        assert tab.texts[asked.reply] == script.text
    redis.resume()
    assert max_pause(here) < ANSWER_SECONDS - 0.5


async def test_no_key_stays_behind_in_redis(tabs: tuple[Tab, Tab], upstream: Upstream, redis: RedisServer) -> None:
    here, _ = tabs
    await here.until_ended((await here.ask("Talk")).reply)
    assert redis.keys() == []


async def test_several_tabs_on_several_processes_ask_at_once(
    two: tuple[ServerProcess, ServerProcess], alice: User, upstream: Upstream
) -> None:
    from channels.db import database_sync_to_async

    async def talk(number: int) -> None:
        conversation: Any = await database_sync_to_async(Conversation.start)(alice)
        tabs = [await LiveServer(process.url).tab(alice, conversation) for process in two]
        for tab in tabs:
            await tab.open()
        asked = await tabs[number % 2].ask(f"reply-{number}")
        for tab in tabs:
            await tab.until_ended(asked.reply, seconds=30)
            assert tab.texts[asked.reply] == many(100, seed=f"reply-{number}").text
            assert tab.wrongs == []
            await tab.close()

    upstream.always(lambda request: many(100, pace=0.01, seed=request.asked))
    await asyncio.gather(*(talk(number) for number in range(20)))
