"""A conversation that is not kept, as a person has one: chosen before the first question, kept after all, or deleted now."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from conversations.models import Conversation
from tests.browser.conftest import OpenPage, Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


async def begin(visit: Visit, text: str) -> None:
    await visit.page.get_by_role("checkbox", name="Temporary").check()
    await expect(visit.page.get_by_text("Not kept: in no list and no search")).to_be_visible()
    await visit.ask(text)
    await expect(visit.reply).to_contain_text(f"You said: {text}")


async def test_it_is_in_no_list_until_it_is_kept_and_every_tab_sees_that(visit: Visit, open_page: OpenPage) -> None:
    await begin(visit, "Where is the teapot?")
    await expect(visit.page.get_by_text("This conversation is temporary")).to_be_visible()
    await expect(visit.sidebar.get_by_role("link", name="Where is the teapot?")).to_have_count(0)
    await visit.composer.fill("A draft that no browser keeps")
    assert await visit.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('draft')).length") == 0
    other = await open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    await other.sign_in()
    await other.goto(visit.page.url.removeprefix(visit.server.url))
    await visit.page.get_by_role("button", name="Keep it").click()
    await expect(visit.composer).to_be_focused()
    for each in (visit, other):
        await expect(each.page.get_by_text("This conversation is temporary")).to_have_count(0)
        await expect(each.page.get_by_text("Temporary", exact=True)).to_have_count(0)
    await expect(visit.sidebar.get_by_role("link", name="Where is the teapot?")).to_be_visible()
    await visit.page.keyboard.press("Control+k")
    await visit.page.keyboard.type("teapot")
    await expect(visit.page.get_by_role("option").filter(has_text="You said")).to_be_visible()


async def test_it_is_deleted_at_once_also_without_scripts(visit: Visit, open_page: OpenPage) -> None:
    await begin(visit, "Forget this")
    await visit.page.get_by_role("button", name="Delete it now").click()
    await visit.until_home()
    assert not await Conversation.objects.aexists()
    plain = await open_page(java_script_enabled=False, viewport={"width": 390, "height": 844}, color_scheme="dark")
    plain.until_alive = plain.page.wait_for_load_state  # type: ignore[method-assign]
    await plain.sign_in()
    await plain.page.get_by_role("checkbox", name="Temporary").check()
    await plain.ask("And this")
    await plain.page.get_by_role("button", name="Keep it").click()
    await expect(plain.page.get_by_text("This conversation is temporary")).to_have_count(0)
    assert not (await Conversation.objects.aget()).is_temporary
