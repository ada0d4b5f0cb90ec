"""Prompts, as a person uses them: made on a page, inserted with a slash, filled in with Tab; and how long a draft is."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Locator, expect

from conversations.models import Prompt
from tests.browser.conftest import OpenPage, Visit
from tests.conftest import Chat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


def options(visit: Visit) -> Locator:
    return visit.page.get_by_role("listbox", name="Prompts").get_by_role("option")


async def selected(visit: Visit) -> str:
    words = "(field) => field.value.slice(field.selectionStart, field.selectionEnd)"
    return str(await visit.composer.evaluate(words))


async def test_a_prompt_is_made_found_with_a_slash_and_filled_in(visit: Visit, bob: User) -> None:
    await Prompt.objects.acreate(owner=bob, name="Explain to a child", text="Explain it to a child.", shared=True)
    await visit.page.locator(".user-menu summary").click()
    await visit.page.get_by_role("link", name="Prompts").click()
    await expect(visit.page.get_by_text("Explain it to a child.")).to_be_visible()
    await visit.page.get_by_role("link", name="New prompt").click()
    await visit.until_alive()
    await visit.page.get_by_role("textbox", name="Name", exact=True).fill("Translate")
    await visit.page.get_by_role("textbox", name="Text", exact=True).fill("Translate {{text}} into {{language}}.")
    await visit.page.get_by_role("button", name="Save").click()
    await expect(visit.page.get_by_role("link", name="Translate")).to_be_visible()

    await visit.goto("/")
    await visit.page.keyboard.type("/")
    await expect(options(visit)).to_have_count(2)
    await visit.page.keyboard.press("ArrowDown")
    await expect(options(visit).nth(1)).to_have_attribute("aria-selected", "true")
    chosen = await options(visit).nth(1).get_attribute("id")
    assert chosen is not None
    await expect(visit.composer).to_have_attribute("aria-activedescendant", chosen)
    await visit.page.keyboard.type("trans")
    await expect(options(visit)).to_have_count(1)
    await visit.page.keyboard.press("Enter")
    await expect(visit.composer).to_have_value("Translate {{text}} into {{language}}.")
    assert await selected(visit) == "{{text}}"
    await visit.page.keyboard.type("“你好”")
    await visit.page.keyboard.press("Tab")
    assert await selected(visit) == "{{language}}"
    await visit.page.keyboard.type("German")
    await visit.page.keyboard.press("Tab")
    await expect(visit.composer).not_to_be_focused()
    await visit.composer.press("Enter")
    await visit.until_in_a_conversation()
    await expect(visit.question).to_contain_text("Translate “你好” into German.")


async def test_what_begins_with_a_slash_can_be_sent_as_it_stands(alice: User, open_page: OpenPage) -> None:
    await Prompt.objects.acreate(owner=alice, name="Image of a house", text="Draw a house.")
    visit = await open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    await visit.sign_in()
    await visit.composer.focus()
    await visit.page.keyboard.type("/image")
    await expect(options(visit)).to_have_count(1)
    await visit.page.keyboard.press("Escape")
    await expect(options(visit)).to_have_count(0)
    await visit.page.keyboard.type(" of a cat")
    await expect(visit.composer).to_have_value("/image of a cat")
    await visit.page.keyboard.press("Enter")
    await visit.until_in_a_conversation()
    await expect(visit.reply).to_contain_text("You said: /image of a cat")
    # Also without Escape: no prompt has such a name.
    await visit.composer.fill("/image of a dog")
    await visit.page.keyboard.press("Enter")
    await expect(visit.reply).to_contain_text("You said: /image of a dog")
    # With the finger, and with nothing to be found.
    await visit.composer.fill("/house")
    await options(visit).click()
    await expect(visit.composer).to_have_value("Draw a house.")
    await expect(visit.composer).to_be_focused()
    await Prompt.objects.all().adelete()
    await visit.composer.fill("/")
    await expect(visit.page.get_by_text("There are no prompts yet.")).to_be_visible()


async def test_a_long_draft_says_how_long_it_is_and_when_a_model_sees_no_more(visit: Visit, chat: Chat) -> None:
    chat(context_tokens=4000)
    await visit.reload()
    size, spoken = visit.page.locator(".composer-size"), visit.page.locator("#spoken")
    await visit.composer.fill("word " * 300)
    await expect(size).to_have_text("")
    await visit.composer.fill("数据库" * 250)
    await expect(size).to_have_text("about 560 tokens")
    await expect(spoken).to_have_text("")
    await visit.composer.fill("word " * 2700)
    await expect(size).to_have_text("about 3,400 of the 4,000 tokens that a model is shown")
    await expect(spoken).to_have_text("about 3,400 of the 4,000 tokens that a model is shown")
    await visit.composer.fill("word " * 3300)
    await expect(spoken).to_have_text("about 4,100 tokens, more than the 4,000 that a model is shown")
