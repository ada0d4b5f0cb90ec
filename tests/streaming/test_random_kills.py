"""A server that is killed and terminated at moments that nobody has chosen, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Change, Conversation, Message
from tests.conftest import StartProcess
from tests.processes import ServerProcess
from tests.scripts import many
from tests.streaming.conftest import TabOn
from tests.streaming.test_kill import TERMINAL, move, until_status
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

ROUNDS = 3
TALKS = 4
RECOVERY = 30.0


class Person:
    """Asks, loses the server, comes back and asks again what was not confirmed: one message, whatever happened."""

    def __init__(self, tab: Tab, conversation: Conversation) -> None:
        self.tab = tab
        self.conversation = conversation
        self.number = 0
        self.seen: set[str] = set()
        """The replies of which something was shown before the server died."""

    @property
    def question(self) -> str:
        return f"{self.conversation.pk}-{self.number}"

    async def ask(self) -> str | None:
        """The reply, or None where no answer came."""
        client_id = f"client-{self.number}"
        with contextlib.suppress(Exception):  # the server goes away at any moment, also before the socket is there
            return (await self.tab.ask(self.question, client_id=client_id)).reply
        return None

    async def come_back(self, process: ServerProcess) -> None:
        await self.tab.until_closed()
        self.seen = {reply for reply, text in self.tab.texts.items() if text}
        move(self.tab, process)
        await self.tab.resume()

    async def judge(self, reply: str, upstream: Upstream) -> None:
        kept = await until_status(reply, TERMINAL, RECOVERY)
        script = many(100, seed=self.question)
        ended = await self.tab.until_ended(reply, RECOVERY)
        assert self.tab.texts[reply] == kept.text
        assert ended["status"] == kept.status in ("done", "interrupted")
        assert kept.text == script.text if kept.status == "done" else script.text.startswith(kept.text)
        assert await Change.objects.filter(message_id=reply, kind="reply_ended").acount() == 1
        assert await self.conversation.messages.filter(client_id=f"client-{self.number}").acount() == 1
        posts = [post for post in upstream.posts if post.asked == self.question]
        assert len(posts) == 1 or reply not in self.seen


@pytest.mark.parametrize("seed", range(1))
async def test_a_server_that_dies_at_any_moment_loses_nothing(
    seed: int, start_process: StartProcess, tab_on: TabOn, alice: User, upstream: Upstream
) -> None:
    chance = random.Random(seed)
    upstream.always(lambda request: many(100, pace=0.01, seed=request.asked))
    process = await start_process()
    people = []
    for _ in range(TALKS):
        conversation: Conversation = await database_sync_to_async(Conversation.start)(alice)
        people.append(Person(await tab_on(process, alice, conversation), conversation))
    for number in range(ROUNDS):
        asking = []
        for person in people:
            person.number = number
            asking.append(asyncio.create_task(person.ask()))
            await asyncio.sleep(chance.uniform(0, 0.02))
        await asyncio.sleep(chance.choice([0.0, 0.05, 0.5, 1.5]) * chance.random())
        if chance.random() < 0.6:
            process.kill()
        else:
            process.terminate()
            await process.until_gone()
        await asyncio.gather(*asking)
        await process.astart()
        for person in people:
            await person.come_back(process)
        replies = await asyncio.gather(*(person.ask() for person in people))
        for person, reply in zip(people, replies, strict=True):
            assert reply is not None
            await person.judge(reply, upstream)
    assert await Message.objects.acount() == 2 * TALKS * ROUNDS
