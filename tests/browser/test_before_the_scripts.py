"""The page before its scripts have come: what a person does meanwhile on a slow network counts, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from conversations.models import Message
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


class SlowScripts:
    """A network on which the first script of a page takes until `let_come`."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.may_come = asyncio.Event()

    async def hold(self, route: Route) -> None:
        await self.may_come.wait()
        await route.continue_()

    async def open(self, path: str) -> None:
        """The page is there, its scripts are not."""
        self.may_come.clear()
        await self.visit.page.route("**/js/page*.js", self.hold)
        await self.visit.page.goto(self.visit.server.url + path, wait_until="commit")
        await expect(self.visit.composer).to_be_editable()

    async def let_come(self) -> None:
        self.may_come.set()
        await self.visit.until_alive()


@pytest_asyncio.fixture(loop_scope="package")
async def slow(visit: Visit) -> AsyncIterator[SlowScripts]:
    slow = SlowScripts(visit)
    yield slow
    slow.may_come.set()
    await visit.page.unroute_all(behavior="wait")


def path_of(visit: Visit) -> str:
    return urlsplit(visit.page.url).path


async def test_send_posts_the_first_message(visit: Visit, slow: SlowScripts) -> None:
    await slow.open("/")
    await visit.composer.press_sequentially("Early")
    await visit.send_button.click()
    await expect(visit.question).to_contain_text("Early")
    assert await Message.objects.filter(role="user", text="Early").acount() == 1
    await slow.let_come()
    await expect(visit.reply).to_contain_text("You said: Early")


async def test_send_posts_the_next_message(visit: Visit, slow: SlowScripts) -> None:
    await visit.ask("First")
    await expect(visit.reply).to_contain_text("You said: First")
    conversation = path_of(visit)
    await slow.open(conversation)
    await visit.composer.press_sequentially("Second")
    await visit.send_button.click()
    await expect(visit.question).to_contain_text("Second")
    assert path_of(visit) == conversation
    await slow.let_come()
    await expect(visit.reply).to_contain_text("You said: Second")


async def test_what_was_typed_stays_and_is_sent_by_the_next_enter(visit: Visit, slow: SlowScripts) -> None:
    await slow.open("/")
    await visit.composer.press_sequentially("Early")
    await slow.let_come()
    await expect(visit.composer).to_have_value("Early")
    await visit.composer.press("Enter")
    await expect(visit.reply).to_contain_text("You said: Early")


async def test_what_was_typed_comes_behind_the_draft_and_survives_a_reload(visit: Visit, slow: SlowScripts) -> None:
    await visit.composer.press_sequentially("Half a thought")
    await slow.open("/")
    await visit.composer.press_sequentially("Early")
    await slow.let_come()
    await expect(visit.composer).to_have_value("Half a thought\nEarly")
    await visit.reload()
    await expect(visit.composer).to_have_value("Half a thought\nEarly")
