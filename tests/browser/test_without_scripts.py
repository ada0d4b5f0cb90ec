"""Parley without any script: signing in, asking, reading, finding and leaving, as forms and links do it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from playwright.async_api import expect

from conversations.models import Conversation, Membership, Message, Shelf
from tests.browser.conftest import CONVERSATION, OpenPage, Visit
from tests.browser.judge import DESKTOP, PHONE, TOO_WIDE
from tests.conftest import Chat
from tests.scripts import Hold, Script
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

#: What only a script can do is not offered.
IDLE = "button[data-act], [data-choice]"


@pytest_asyncio.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"], loop_scope="package")
async def plain(request: Any, alice: User, open_page: OpenPage, chat: Chat) -> Visit:
    chat(interval_seconds=0)
    visit = await open_page(java_script_enabled=False, viewport=request.param)
    visit.until_alive = visit.page.wait_for_load_state  # type: ignore[method-assign]
    return visit


async def test_all_that_counts_is_done_by_forms_and_links(plain: Visit, alice: User, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", Hold(), "**two**."]), Script(["And three."]))
    page = plain.page
    alice.set_password("correct horse battery staple")
    await alice.asave()
    await plain.enter_password("correct horse battery staple")
    await expect(plain.composer).to_be_visible()
    assert await page.locator(IDLE).count()
    await expect(page.locator(IDLE).filter(visible=True)).to_have_count(0)

    await plain.composer.fill("Count.")
    await plain.send_button.click()
    await page.wait_for_url(CONVERSATION)
    await expect(plain.question).to_contain_text("Count.")
    await upstream.until_asked()
    upstream.posts[0].go_on()
    await until_ended()
    await page.reload()
    await expect(plain.reply.locator("strong")).to_have_text("two")
    await expect(page.locator("noscript .banner")).to_be_visible()

    await plain.composer.fill("Go on.")
    await plain.send_button.click()
    await expect(plain.question).to_contain_text("Go on.")
    await until_ended()
    await page.reload()
    await expect(plain.reply).to_contain_text("And three.")
    assert await page.evaluate(TOO_WIDE) == []

    await plain.sidebar.get_by_role("link", name="New conversation").click()
    await page.wait_for_url(f"{plain.server.url}/")
    await plain.sidebar.get_by_role("link", name="Count.").click()
    await page.wait_for_url(CONVERSATION)
    await plain.sidebar.get_by_role("link", name="Search").click()
    await page.get_by_role("main").get_by_role("searchbox").fill("three")
    await page.get_by_role("main").get_by_role("button", name="Search").click()
    await expect(page.locator("mark")).to_have_text(["three"])

    await page.locator("summary", has_text="Settings and sign out").click()
    await page.get_by_role("button", name="简体中文").click()
    await expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    await page.locator("summary", has_text="设置与退出").click()
    await page.get_by_role("button", name="退出登录").click()
    await expect(page.get_by_role("button", name="登录", exact=True)).to_be_visible()


async def until_ended() -> None:
    """Nothing tells a page without scripts that a reply has ended: whoever looks again sees it."""
    async with asyncio.timeout(30):
        while await Message.objects.filter(status__in=["queued", "streaming"]).aexists():
            await asyncio.sleep(0.02)


async def test_what_is_refused_comes_back_with_its_reason(plain: Visit, chat: Chat) -> None:
    chat(message_characters=10)
    await plain.sign_in()
    await plain.composer.fill("A message that is too long for this place")
    await plain.send_button.click()
    await expect(plain.composer).to_have_value("A message that is too long for this place")
    await expect(plain.page.get_by_text("A message has at most 10 characters.")).to_be_visible()
    plain.problems.clear()  # the browser tells that the page came with a 400, as it should


async def test_what_was_put_away_is_taken_back(plain: Visit, alice: User) -> None:
    conversation = await database_sync_to_async(Conversation.start)(alice)
    await Conversation.objects.filter(pk=conversation.pk).aupdate(title="Tea")
    await Membership.objects.filter(conversation=conversation).aupdate(shelf=Shelf.ARCHIVED)
    await plain.sign_in()
    await plain.page.goto(f"{plain.server.url}/archive/")
    await plain.page.get_by_role("button", name="Back to the list").click()
    await expect(plain.sidebar.get_by_role("link", name="Tea")).to_be_visible()
