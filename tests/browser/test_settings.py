"""How the model is asked, as a person sets it: before the first question, in the dialog, and without scripts."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Locator, expect

from conversations.models import Conversation, Membership, Role
from tests.browser.conftest import OpenPage, Visit
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


def dialog(visit: Visit) -> Locator:
    return visit.page.get_by_role("dialog", name="Settings of this conversation")


async def test_what_is_set_goes_with_the_questions_and_is_seen_in_every_tab(
    visit: Visit, open_page: OpenPage, upstream: Upstream
) -> None:
    await visit.page.get_by_text("Settings", exact=True).click()
    await visit.page.get_by_label("System prompt").fill("Answer in verse.")
    await visit.page.get_by_label("Temperature").fill("0.7")
    await visit.ask("Why is the sky blue?")
    await expect(visit.reply).to_contain_text("You said")
    assert upstream.posts[0].messages[0] == {"role": "system", "content": "Answer in verse."}
    assert upstream.posts[0].json["temperature"] == 0.7
    phone = await open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    await phone.sign_in()
    await phone.goto(visit.page.url.removeprefix(visit.server.url))

    await visit.page.keyboard.press("Control+,")
    field = dialog(visit).get_by_label("System prompt")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("Answer in verse.")
    await field.fill("Answer in prose.")
    await dialog(visit).get_by_label("Temperature").fill("")
    await dialog(visit).get_by_label("Effort of reasoning").select_option("high")
    await visit.page.keyboard.press("Tab")
    await dialog(visit).get_by_role("button", name="Save").click()
    await expect(dialog(visit)).to_be_hidden()
    await expect(visit.composer).to_be_focused()

    await phone.page.get_by_role("link", name="Settings of this conversation").click()
    await expect(dialog(phone).get_by_label("System prompt")).to_have_value("Answer in prose.")
    await expect(dialog(phone).get_by_label("Temperature")).to_have_value("")
    await expect(dialog(phone).get_by_label("Effort of reasoning")).to_have_value("high")
    await phone.page.keyboard.press("Escape")
    await expect(dialog(phone)).to_be_hidden()
    await visit.ask("And in the evening?")
    await expect(visit.reply).to_contain_text("You said: And")
    assert upstream.posts[1].messages[0]["content"] == "Answer in prose."
    assert upstream.posts[1].json["reasoning_effort"] == "high"
    assert "temperature" not in upstream.posts[1].json


async def test_a_refusal_is_told_in_the_dialog_and_loses_nothing(visit: Visit, alice: User) -> None:
    await visit.ask("Hello")
    await visit.page.keyboard.press("Control+,")
    field = dialog(visit).get_by_label("System prompt")
    await field.evaluate("(field) => field.removeAttribute('maxlength')")
    await field.fill("x" * 20_001)
    await dialog(visit).get_by_role("button", name="Save").click()
    await expect(dialog(visit).get_by_role("alert")).to_have_text("A system prompt has at most 20000 characters.")
    assert len(await field.input_value()) == 20_001
    await Membership.objects.filter(user=alice).aupdate(role=Role.READER)
    await visit.reload()
    await visit.page.get_by_role("link", name="Settings of this conversation").click()
    await expect(dialog(visit).get_by_label("Temperature")).to_be_disabled()
    await expect(dialog(visit).get_by_role("button", name="Save")).to_be_hidden()


async def test_settings_are_a_page_without_scripts(alice: User, open_page: OpenPage) -> None:
    visit = await open_page(java_script_enabled=False, viewport={"width": 390, "height": 844}, color_scheme="dark")
    visit.until_alive = visit.page.wait_for_load_state  # type: ignore[method-assign]
    await visit.sign_in()
    await visit.page.get_by_text("Settings", exact=True).click()
    await visit.page.get_by_label("Longest reply, in tokens").fill("300")
    await visit.ask("Hello")
    await visit.page.get_by_role("link", name="Settings of this conversation").click()
    await expect(visit.page.get_by_label("Longest reply, in tokens")).to_have_value("300")
    await visit.page.get_by_label("Top P").fill("0.5")
    await visit.page.get_by_role("button", name="Save").click()
    await visit.until_in_a_conversation()
    assert (await Conversation.objects.aget()).parameters == {"top_p": 0.5, "max_tokens": 300}
