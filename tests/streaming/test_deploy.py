"""A new version under load, by the recipes of docs/deploy.md: nothing is lost, and nobody waits for more than a moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import Sum
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from conversations.models import Conversation, Message
from streaming.models import Run
from tests.chatproject.test_compose import needs
from tests.conftest import FAST, LiveServer, StartProcess
from tests.processes import ROOT, ServerProcess, database_url
from tests.scripts import many
from tests.services import Server, dying_with_us, free_port
from tests.streaming.test_kill import TERMINAL
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services, pytest.mark.timeout(400)]

T = TypeVar("T")

VISITORS = 20
#: A reply lasts about three seconds, and is given more than enough to end.
DELTAS, PACE = 100, 0.03
DRAIN = LONG = "60"
#: A reply that has not ended then is stuck, however busy the machine.
SECONDS_TO_END = 120.0


class Proxy(Server):
    """Caddy with our Caddyfile, in front of these processes."""

    def __init__(self, processes: list[ServerProcess]) -> None:
        needs("caddy")
        super().__init__()
        self.health_port = free_port()
        self.behind = " ".join(f"127.0.0.1:{process.port}" for process in processes)
        self.directory = ROOT

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SITE_ADDRESS": f"http://:{self.port}",
            "WEB_ADDRESS": self.behind,
            "CADDY_HEALTH_PORT": str(self.health_port),
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
        }

    def command(self) -> list[str]:
        return [*dying_with_us(self.stop_signal), "caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]

    def try_once(self) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/", timeout=5):
            pass


class Visitor:
    """Somebody who asks one question after the other, and comes back whenever the socket closes, as a page does."""

    def __init__(self, name: str, tab: Tab) -> None:
        self.name, self.tab = name, tab
        self.replies: dict[str, str] = {}
        self.returns = 0

    async def ask_until(self, over: asyncio.Event) -> None:
        await self.tab.open()
        while not over.is_set():
            await self.ask(f"{self.name}-{len(self.replies)}")
        await self.tab.close()

    async def ask(self, text: str) -> None:
        """Ask, as often as it takes until somebody has answered, and follow the reply to its end."""
        client_id = str(uuid.uuid4())
        asked = await self.insist(lambda: self.tab.ask(text, client_id=client_id))
        self.replies[asked.reply] = text
        async with asyncio.timeout(SECONDS_TO_END):
            await self.insist(lambda: self.follow(asked.reply))

    async def follow(self, reply: str) -> None:
        await self.tab.until(lambda: self.has_all_of(reply) or self.tab.close_code is not None, SECONDS_TO_END)
        if not self.has_all_of(reply):
            raise ConnectionError

    def has_all_of(self, reply: str) -> bool:
        """Whole is: length and SHA-256 are those of `reply_ended`. Who comes back late may find the end in a snapshot."""
        if self.tab.endings[reply]:
            return self.tab.is_whole(reply)
        return self.tab.statuses.get(reply) in TERMINAL

    async def insist(self, work: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await work()
            except TimeoutError:
                pass  # a busy machine: the same `client_id` is the same question
            except (ConnectionError, ConnectionClosed):
                await self.come_back()

    async def come_back(self) -> None:
        self.returns += 1
        while True:
            await asyncio.sleep(random.uniform(0.1, 0.5))
            try:
                await self.tab.resume()
                return
            except (OSError, InvalidHandshake, ConnectionClosed):
                pass


@asynccontextmanager
async def visited(url: str, upstream: Upstream) -> AsyncIterator[list[Visitor]]:
    """Visitors come and talk; at the end of the block they finish their replies, and all of them must be whole."""
    upstream.always(lambda request: many(DELTAS, pace=PACE, seed=request.asked))
    server = LiveServer(url)
    visitors = []
    for number in range(VISITORS):
        person = await User.objects.acreate_user(f"visitor-{number}")
        conversation = await database_sync_to_async(Conversation.start)(person)
        visitors.append(Visitor(person.username, await server.tab(person, conversation)))
    over = asyncio.Event()
    talks = [asyncio.create_task(visitor.ask_until(over)) for visitor in visitors]
    await upstream.until_asked(VISITORS, seconds=60)
    yield visitors
    over.set()
    await asyncio.gather(*talks)
    await nothing_is_lost(visitors, upstream)


async def nothing_is_lost(visitors: list[Visitor], upstream: Upstream) -> None:
    for visitor in visitors:
        assert visitor.tab.wrongs == []
        for reply, asked in visitor.replies.items():
            assert visitor.tab.statuses[reply] == "done"
            assert visitor.tab.texts[reply] == many(DELTAS, seed=asked).text
    kept = Counter(
        [status async for status in Message.objects.filter(role="assistant").values_list("status", flat=True)]
    )
    assert kept == {"done": sum(len(visitor.replies) for visitor in visitors)}
    spent = await Run.objects.aaggregate(posts=Sum("attempts"))
    # Each is counted before it is made, and may be given back in between.
    assert len(upstream.posts) <= spent["posts"]


async def deploy(processes: list[ServerProcess]) -> None:
    """One after the other, each when the one before is back."""
    for process in processes:
        process.terminate()
        await process.until_gone(90)
        await process.astart()


async def test_two_processes_behind_a_proxy_are_replaced_one_after_the_other(
    start_process: StartProcess, upstream: Upstream
) -> None:
    webs = await asyncio.gather(
        *(
            start_process(CHAT_DRAIN_SECONDS=DRAIN, CHAT_SILENCE_SECONDS=LONG, CHAT_FIRST_TOKEN_SECONDS=LONG)
            for _ in range(2)
        )
    )
    with Proxy(webs) as proxy:
        async with visited(proxy.url, upstream) as visitors:
            await deploy(webs)
        # There was something to lose: all of them were at one of the two.
        assert sum(visitor.returns for visitor in visitors) >= VISITORS


async def test_the_web_and_then_the_workers_are_replaced_and_no_reply_is_asked_for_twice(
    start_process: StartProcess, upstream: Upstream
) -> None:
    *webs, worker = await asyncio.gather(
        start_process(CHAT_REPLIES_IN="workers", CHAT_SILENCE_SECONDS=LONG, CHAT_FIRST_TOKEN_SECONDS=LONG),
        start_process(CHAT_REPLIES_IN="workers", CHAT_SILENCE_SECONDS=LONG, CHAT_FIRST_TOKEN_SECONDS=LONG),
        start_process("worker", CHAT_DRAIN_SECONDS=DRAIN, CHAT_SILENCE_SECONDS=LONG, CHAT_FIRST_TOKEN_SECONDS=LONG),
    )
    with Proxy(webs) as proxy:
        async with visited(proxy.url, upstream) as visitors:
            await deploy(webs)
            # The web has not touched a reply.
            assert {attempts async for attempts in Run.objects.values_list("attempts", flat=True)} <= {0, 1}
            await start_process(
                "worker", CHAT_DRAIN_SECONDS=DRAIN, CHAT_SILENCE_SECONDS=LONG, CHAT_FIRST_TOKEN_SECONDS=LONG
            )
            worker.terminate()
            assert await worker.until_gone(90) == 0
        assert sum(visitor.returns for visitor in visitors) >= VISITORS


class Served(Server):
    """tools/serve with two processes, as the unit of docs/deploy.md starts it."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self.directory = ROOT
        self.upstream = upstream

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **{f"CHAT_{name.upper()}": str(value) for name, value in FAST.items()},
            "CHAT_SILENCE_SECONDS": LONG,
            "CHAT_FIRST_TOKEN_SECONDS": LONG,
            "CHAT_DRAIN_SECONDS": DRAIN,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DATABASE_URL": database_url(),
            "OPENAI_BASE_URL": self.upstream.base_url,
            "OPENAI_API_KEY": str(self.upstream.key),
            "CHAT_MODELS": "small,large",
            "WEB_HOST": "127.0.0.1",
            "WEB_PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
        }

    def command(self) -> list[str]:
        return [*dying_with_us(self.stop_signal), "tools/serve"]

    def try_once(self) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/", timeout=5):
            pass

    def serving(self) -> set[int]:
        """The processes that have the connections, which are children of the one that is told."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return {child.pid for child in children if is_serving(child)}


def is_serving(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.Error:  # it has ended
        return False


async def test_a_reload_replaces_all_processes_of_a_unit(transactional_db: None, upstream: Upstream) -> None:
    served = Served(upstream)
    try:
        served.launch()
        served.deadline += 60  # it starts three processes
        while not await asyncio.to_thread(served.is_ready):
            await asyncio.sleep(0.05)
        async with visited(f"http://127.0.0.1:{served.port}", upstream):
            before = served.serving()
            assert len(before) == 2
            assert served.process is not None
            served.process.send_signal(signal.SIGHUP)
            try:
                async with asyncio.timeout(200):
                    while before & served.serving() or len(served.serving()) < 2:
                        await asyncio.sleep(0.2)
            except TimeoutError:
                raise TimeoutError(f"{before} are not replaced:\n{served.log()}") from None
    finally:
        await asyncio.to_thread(served.remove)
        await database_sync_to_async(connections.close_all)()
