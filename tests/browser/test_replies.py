"""What can be known of a reply and said about it, how it is told aloud, and where its reader stands."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Locator, expect

from tests.browser.conftest import PATIENCE_MS, OpenPage, Visit
from tests.browser.test_finding import talk
from tests.conftest import Chat
from tests.scripts import Hold, Reason, Script
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


async def test_thinking_is_folded_with_its_time_and_facts_are_told_on_demand(visit: Visit, upstream: Upstream) -> None:
    usage = {"prompt_tokens": 1234, "completion_tokens": 56, "total_tokens": 1290}
    upstream.answer(Script([Reason("Let me think."), Hold(), "Yes.", Hold(), " So it is."], usage=usage))
    await visit.ask("Is it?")
    label = visit.reply.locator("summary", has_text="Thinking …")
    await expect(label).to_be_visible()
    upstream.posts[0].go_on()
    await expect(visit.reply).to_contain_text("Yes.")
    label = visit.reply.locator("summary", has_text=re.compile(r"^\s*(Thought for \d+ s|Reasoning)"))
    await expect(label).to_be_visible()
    await expect(visit.reply.get_by_text("Let me think.")).to_be_hidden()
    upstream.posts[0].go_on()
    for _ in range(2):  # as it ends, and as it is found again
        thought = visit.reply.locator("summary", has_text=re.compile(r"Thought for \d+ s"))
        await expect(thought).to_be_visible()
        await expect(visit.stop_button).to_be_hidden()
        details = visit.reply.get_by_label("Details")
        await details.focus()
        await visit.page.keyboard.press("Enter")
        facts = visit.reply.locator(".facts-list")
        await expect(facts).to_contain_text("Tokens read1,234")
        await expect(facts).to_contain_text("Tokens written56")
        await expect(facts).to_contain_text(re.compile(r"First token after[\d.]+ s"))
        await expect(facts).to_be_in_viewport(ratio=1)
        await visit.page.keyboard.press("Escape")
        await expect(facts).to_be_hidden()
        await expect(details).to_be_focused()
        await visit.reload()


async def test_a_reply_is_judged_by_keyboard_and_other_tabs_see_it(visit: Visit, open_page: OpenPage) -> None:
    await visit.ask("Is it?")
    await expect(visit.stop_button).to_be_hidden()
    other = await open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    await other.sign_in()
    await other.goto(urlsplit(visit.page.url).path)
    good, poor = (visit.reply.get_by_role("button", name=name) for name in ("A good reply", "A poor reply"))
    theirs = other.reply.get_by_role("button", name="A poor reply")
    await poor.focus()
    await visit.page.keyboard.press("Enter")
    await expect(poor).to_have_attribute("aria-pressed", "true")
    await expect(theirs).to_have_attribute("aria-pressed", "true")
    await visit.reload()
    await expect(poor).to_have_attribute("aria-pressed", "true")
    await good.click()
    await expect(poor).to_have_attribute("aria-pressed", "false")
    await expect(theirs).to_have_attribute("aria-pressed", "false")
    mine = other.reply.get_by_role("button", name="A good reply")
    await expect(mine).to_have_attribute("aria-pressed", "true")
    await other.reply.get_by_label("Details").tap()
    await expect(other.reply.locator(".facts-list")).to_be_in_viewport(ratio=1)
    assert await other.page.evaluate("visualViewport.width") == 390
    await mine.tap()
    await expect(good).to_have_attribute("aria-pressed", "false")


async def test_a_screen_reader_is_told_as_much_as_one_has_chosen(visit: Visit, upstream: Upstream) -> None:
    spoken = visit.page.locator("#spoken")
    upstream.answer(
        Script(["So."]), Script(["One is *first*. ", "Two", Hold(), " is last."]), Script(["No word of it."])
    )
    await visit.ask("Is it?")
    await expect(visit.stop_button).to_be_hidden()
    await expect(visit.page.locator("#messages [aria-live], #messages [role=log]")).to_have_count(0)

    async def choose(name: str) -> None:
        await visit.page.locator("summary", has_text="Settings and sign out").click()
        await visit.page.get_by_role("button", name=name, exact=True).click()
        await visit.page.keyboard.press("Escape")

    await choose("By sentence")
    await visit.ask("Count")
    await expect(spoken).to_have_text("One is first.")
    upstream.posts[-1].go_on()
    await expect(spoken).to_have_text(re.compile("^Two is last.\\s*The reply is complete.$"))
    await choose("Nothing")
    await visit.ask("Hush")
    await expect(visit.reply).to_contain_text("No word of it.")
    await expect(visit.stop_button).to_be_hidden()
    await expect(spoken).to_have_text(re.compile("Two is last."))
    await choose("Whole text")
    upstream.answer(Script(["It is **so**.\n\n```\na\nb\n```\n"]))
    await visit.ask("Again")
    await expect(spoken).to_have_text(re.compile("^It is so.\\s*code, 2 lines$"))


async def top_of(element: Locator) -> float:
    box = await element.bounding_box()
    assert box is not None
    return box["y"]


async def test_where_one_stood_in_a_conversation_one_stands_again(visit: Visit, alice: User, chat: Chat) -> None:
    chat(page_messages=6)
    pairs = [(f"Question {number}", f"Answer {number}. " * 60) for number in range(12)]
    long = await talk(alice, *pairs)
    await talk(alice, ("Tea?", "Yes."))
    await visit.goto(f"/conversations/{long.pk}/")
    await expect(visit.reply).to_be_in_viewport()
    await visit.page.get_by_role("button", name="Show earlier messages").click()
    stood = visit.page.locator("article.assistant", has_text="Answer 7.")
    await stood.scroll_into_view_if_needed()
    await visit.page.evaluate("scrollBy({ top: 40, behavior: 'instant' })")
    top = await top_of(stood)
    await visit.sidebar.get_by_role("link", name="Tea?").click()
    await expect(visit.reply).to_contain_text("Yes.")
    await visit.until_alive()
    await visit.sidebar.get_by_role("link", name="Question 0").click()
    for _ in range(2):  # by a link, and by a reload
        await visit.page.wait_for_url(f"**/{long.pk}/")
        await visit.until_alive()
        await expect(stood).to_be_in_viewport()
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while abs((await top_of(stood)) - top) > 3:
                await asyncio.sleep(0.05)
        await visit.reload()
    newest = visit.page.get_by_role("button", name="To the newest message")
    await newest.click()
    await expect(visit.reply).to_be_in_viewport()
    await expect(newest).to_be_hidden()
    await visit.reload()
    await expect(visit.reply).to_be_in_viewport()


async def test_a_finger_opens_and_closes_the_list_and_scrolls_what_is_wide(alice: User, open_page: OpenPage) -> None:
    visit = await open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    await visit.sign_in()
    conversation = await talk(alice, ("Code", "```\n" + "wide " * 60 + "\n```\n\n" + "Word. " * 60))
    await visit.goto(f"/conversations/{conversation.pk}/")
    fingers = await visit.page.context.new_cdp_session(visit.page)

    async def swipe(x: float, across: float, y: float) -> None:
        points = [{"x": x + across * step / 5, "y": y} for step in range(6)]
        for kind, at in (("touchStart", points[:1]), *(("touchMove", [p]) for p in points[1:]), ("touchEnd", [])):
            await fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    code = await top_of(visit.reply.locator("pre"))
    await swipe(30, 200, code + 20)  # sideways over code
    await expect(visit.sidebar).to_be_hidden()
    await swipe(4, 200, 500)
    await expect(visit.sidebar).to_be_visible()
    await swipe(300, -200, 500)
    await expect(visit.sidebar).to_be_hidden()
    await expect(visit.page.locator("#page")).not_to_have_attribute("inert", "")
    assert await visit.page.evaluate("visualViewport.scale") == 1

    # The bar of the phone takes the colours that one chooses.
    async def bar() -> str:
        metas = (
            "[...document.querySelectorAll('meta[name=theme-color]')].filter(each => matchMedia(each.media).matches)"
        )
        return str(await visit.page.evaluate(f"{metas}.map(each => each.content).join()"))

    assert await bar() == "#fdfdfc"
    await swipe(4, 200, 500)
    await expect(visit.sidebar).to_be_visible()
    await visit.page.locator("summary", has_text="Settings and sign out").click()
    await visit.page.get_by_role("button", name="Dark").click()
    assert await bar() == "#1c1d1d"
    await visit.reload()
    assert await bar() == "#1c1d1d"
