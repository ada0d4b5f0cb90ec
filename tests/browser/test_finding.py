"""Finding what was said, as a person does it: Ctrl+K, a few letters, Enter."""

from __future__ import annotations

import re
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from playwright.async_api import Locator, expect

from conversations import search
from conversations.models import Conversation, Message
from conversations.status import Status
from tests.browser.conftest import OpenPage, Visit
from tests.cases import moment
from tests.conftest import Chat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


@database_sync_to_async
def talk(user: User, *pairs: tuple[str, str]) -> Conversation:
    """A conversation of some time ago."""
    conversation = Conversation.start(user)
    Conversation.objects.filter(pk=conversation.pk).update(title=pairs[0][0])
    for question, answer in pairs:
        say(conversation, "user", question, author=user)
        say(conversation, "assistant", answer, finish_reason="stop")
    return conversation


def say(conversation: Conversation, role: str, text: str, **more: Any) -> None:
    """Rows alone: what is posted would be answered."""
    parent = more.pop("parent", conversation.head)
    more = {"status": Status.DONE, **more, "conversation": conversation, "parent": parent, "role": role}
    conversation.head = Message.objects.create(text=text, **more)
    conversation.save(update_fields=["head"])
    search.index(conversation.head.pk, text)


@pytest.fixture(autouse=True)
def patient(chat: Chat) -> None:
    chat(interval_seconds=0, running_per_user=1000)


def palette(visit: Visit) -> Locator:
    return visit.page.get_by_role("dialog", name="Search")


async def look_for(visit: Visit, words: str) -> None:
    await visit.page.keyboard.press("Control+k")
    await expect(palette(visit)).to_be_visible()
    await visit.page.keyboard.type(words)


async def test_a_message_far_above_is_found_and_brought_into_sight(visit: Visit, alice: User, chat: Chat) -> None:
    chat(page_messages=6)
    pairs = [(f"Question {number}", f"Answer {number}. " * 30) for number in range(30)]
    pairs[4] = ("Where is the **teapot**?", "The teapot stands in the kitchen, on the left.")
    conversation = await talk(alice, *pairs)
    await look_for(visit, "kitchen left")
    option = palette(visit).get_by_role("option", selected=True)
    await expect(option).to_contain_text("The teapot stands in the kitchen, on the left.")
    await expect(option.locator("mark")).to_have_text(["kitchen", "left"])
    await visit.page.keyboard.press("Enter")
    await visit.page.wait_for_url(re.compile(f"{conversation.pk}"))
    found = visit.page.locator("article.assistant", has_text="teapot")
    await expect(found).to_be_in_viewport()
    await expect(found).to_be_focused()
    assert "message=" not in visit.page.url


async def test_a_message_of_another_branch_is_found_there(visit: Visit, alice: User) -> None:
    conversation = await talk(alice, ("Tell me a colour", "Vermilion"))

    @database_sync_to_async
    def another_reply() -> None:
        old = conversation.messages.get(text="Vermilion")
        say(conversation, "assistant", "Turquoise", finish_reason="stop", parent=old.parent)

    await another_reply()
    await visit.goto(f"/conversations/{conversation.pk}/")
    await expect(visit.reply).to_contain_text("Turquoise")
    await look_for(visit, "vermil")
    await expect(palette(visit).get_by_role("option", selected=True)).to_contain_text("Vermilion")
    await visit.page.keyboard.press("Enter")
    await expect(visit.reply).to_contain_text("Vermilion")
    await expect(visit.reply).to_be_focused()


async def test_a_branch_is_deleted_in_all_tabs(visit: Visit, alice: User, open_page: OpenPage) -> None:
    conversation = await talk(alice, ("Tell me a colour", "Vermilion"), ("And a shade of it", "Cinnabar"))
    other = await open_page(viewport={"width": 390, "height": 844})
    await other.sign_in()
    for each in (visit, other):
        await each.goto(f"/conversations/{conversation.pk}/")
        await expect(each.reply).to_contain_text("Cinnabar")
    articles = visit.page.locator("article")
    await articles.nth(2).hover()
    await articles.nth(2).get_by_role("button", name="Delete from here on").click()
    dialog = visit.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("2 messages are deleted")
    await dialog.get_by_role("button", name="Keep it").click()
    await expect(articles).to_have_count(4)
    await articles.nth(2).get_by_role("button", name="Delete from here on").click()
    await dialog.get_by_role("button", name="Delete", exact=True).click()
    for each in (visit, other):
        await expect(each.page.locator("article")).to_have_count(2)
        await expect(each.reply).to_contain_text("Vermilion")
    await expect(articles.nth(1)).to_be_focused()
    await visit.reload()
    await expect(articles).to_have_count(2)


async def test_the_arrows_choose_and_escape_gives_the_focus_back(visit: Visit, alice: User) -> None:
    await talk(alice, ("数据库连接池怎么配置", "看连接数。"))
    await talk(alice, ("Brew tea", "Boil the water first."))
    await visit.reload()
    await visit.composer.focus()
    await visit.page.keyboard.press("Control+k")
    options = palette(visit).get_by_role("option")
    await expect(options).to_have_count(2)  # the newest conversations, before anything is typed
    field = visit.page.get_by_role("combobox", name="Search conversations and messages")
    await expect(field).to_be_focused()
    await field.fill("连接")
    await expect(options).to_have_count(3)  # a title, a question and a reply
    await visit.page.keyboard.press("ArrowDown")
    await expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    chosen = await options.nth(1).get_attribute("id")
    assert chosen is not None
    await expect(field).to_have_attribute("aria-activedescendant", chosen)
    await visit.page.keyboard.press("ArrowUp")
    await visit.page.keyboard.press("ArrowUp")
    await expect(options.last).to_have_attribute("aria-selected", "true")
    await field.fill("nowhere")
    await expect(visit.page.get_by_text("Nothing was found for “nowhere”.")).to_be_visible()
    await visit.page.keyboard.press("Escape")
    await expect(visit.composer).to_be_focused()


async def test_the_search_works_without_scripts_on_a_phone(alice: User, open_page: OpenPage) -> None:
    conversation = await talk(alice, ("Where is the teapot?", "The teapot is in the kitchen."))
    visit = await open_page(java_script_enabled=False, viewport={"width": 390, "height": 844}, color_scheme="dark")
    visit.until_alive = visit.page.wait_for_load_state  # type: ignore[method-assign]
    await visit.sign_in()
    await visit.goto("/search/")
    await visit.page.get_by_role("main").get_by_role("searchbox").fill("teapot")
    await visit.page.get_by_role("main").get_by_role("button", name="Search").click()
    hits = visit.page.get_by_role("main").get_by_role("link")
    await expect(hits).to_have_count(3)
    await expect(hits.last.locator("mark")).to_have_text(["teapot"])
    await hits.nth(1).click()
    await visit.page.wait_for_url(re.compile(f"{conversation.pk}"))
    await expect(visit.reply).to_contain_text("The teapot is in the kitchen.")
    await visit.page.get_by_role("link", name="Delete").click()
    await visit.page.get_by_role("main").get_by_role("button", name="Delete").click()
    await expect(visit.page.get_by_role("status").filter(has_text="The conversation is deleted.")).to_be_visible()
    await visit.page.get_by_role("button", name="Undo").click()
    await expect(visit.reply).to_contain_text("The teapot is in the kitchen.")


async def test_keys_are_listed_and_do_what_is_said(visit: Visit, alice: User, open_page: OpenPage) -> None:
    await visit.ask("First wording")
    await expect(visit.reply).to_contain_text("You said: First wording")
    await visit.page.keyboard.press("Control+/")
    keys = visit.page.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(keys).to_contain_text("Stop the reply")
    await visit.page.keyboard.press("Escape")
    await expect(keys).to_be_hidden()
    await visit.composer.focus()
    await visit.page.keyboard.press("ArrowUp")
    editor = visit.question.get_by_role("textbox")
    await expect(editor).to_be_focused()
    await editor.fill("Second wording")
    await visit.page.keyboard.press("Enter")
    await expect(visit.reply).to_contain_text("You said: Second wording")
    await visit.page.keyboard.press("Control+Shift+o")
    await visit.until_home()
    await expect(visit.composer).to_be_focused()


async def test_the_list_of_conversations_goes_on_as_one_scrolls(visit: Visit, alice: User, chat: Chat) -> None:
    chat(sidebar_conversations=30)

    @database_sync_to_async
    def many() -> None:
        for number in range(100):
            Conversation.start(alice).rename(alice, f"Number {number}")
            moment()

    await many()
    await visit.reload()
    entries = visit.sidebar.get_by_role("listitem")
    await expect(entries.first).to_contain_text("Number 99")
    oldest = visit.sidebar.get_by_role("link", name="Number 0", exact=True)
    for _ in range(5):
        if await oldest.count():
            break
        count = await entries.count()
        await visit.sidebar.locator(".sidebar-list").evaluate("list => list.scrollTo(0, list.scrollHeight)")
        await expect(entries).not_to_have_count(count)
    await expect(entries).to_have_count(100)
    await expect(visit.sidebar.get_by_role("link", name="Earlier conversations")).to_be_hidden()
    # A new one comes on top, and the rest stays.
    await visit.ask("And now something new")
    await expect(visit.sidebar.get_by_role("link", name="And now something new")).to_be_visible()


async def choose(visit: Visit, title: str, what: str) -> None:
    entry = visit.sidebar.get_by_role("listitem").filter(has_text=title)
    await entry.hover()
    await entry.get_by_label("What to do with this conversation").click()
    await entry.get_by_role("button", name=what, exact=True).click()


async def test_a_conversation_is_pinned_put_away_and_taken_back(visit: Visit, alice: User, open_page: OpenPage) -> None:
    for title in ("Alpha", "Beta", "Gamma"):
        await talk(alice, (title, "Yes."))
    await visit.reload()
    other = await open_page()
    await other.sign_in()
    entries, others = visit.sidebar.get_by_role("listitem"), other.sidebar.get_by_role("listitem")
    await expect(entries).to_have_text([re.compile(title) for title in ("Gamma", "Beta", "Alpha")])
    await choose(visit, "Alpha", "Pin")
    for each in (visit, other):
        await expect(each.sidebar.get_by_role("heading", name="Pinned")).to_be_visible()
        await expect(each.sidebar.get_by_role("listitem").first).to_contain_text("Alpha")
    await choose(visit, "Alpha", "Unpin")
    await expect(visit.sidebar.get_by_role("heading", name="Pinned")).to_have_count(0)
    await choose(visit, "Beta", "Put away")
    await expect(entries).to_have_text([re.compile(title) for title in ("Gamma", "Alpha")])
    await expect(others).to_have_text([re.compile(title) for title in ("Gamma", "Alpha")])
    await visit.page.get_by_role("button", name="Undo").click()
    await expect(entries).to_have_text([re.compile(title) for title in ("Gamma", "Beta", "Alpha")])
    await choose(visit, "Gamma", "Delete")
    for rows in (entries, others):
        await expect(rows).to_have_text([re.compile(title) for title in ("Beta", "Alpha")])
    await expect(visit.sidebar.get_by_role("link", name="Beta")).to_be_focused()
    await expect(visit.page.get_by_text("Ctrl+Z undoes it.")).to_be_attached()
    await visit.page.keyboard.press("Control+z")
    for rows in (entries, others):
        await expect(rows).to_have_text([re.compile(title) for title in ("Gamma", "Beta", "Alpha")])
    await choose(visit, "Gamma", "Put away")
    await visit.goto("/archive/")
    await expect(visit.page.get_by_role("main").get_by_role("link")).to_contain_text("Gamma")
    await visit.page.get_by_role("button", name="Back to the list").click()
    await expect(entries.first).to_contain_text("Gamma")
