"""Folders, as a person keeps her conversations in them."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, Visit
from tests.browser.test_finding import choose, talk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


async def put(visit: Visit, title: str, folder: str) -> None:
    await choose(visit, title, "Folder …")
    dialog = visit.page.get_by_role("dialog", name="Put into a folder")
    await dialog.get_by_role("combobox").fill(folder)
    await visit.page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()


async def test_conversations_are_kept_in_folders(visit: Visit, alice: User, open_page: OpenPage) -> None:
    for title in ("Alpha", "Beta", "Gamma"):
        await talk(alice, (title, "Yes."))
    other = await open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    await other.sign_in()
    await other.page.get_by_role("button", name="Show the conversations").click()
    await visit.reload()
    entries, others = visit.sidebar.get_by_role("listitem"), other.sidebar.get_by_role("listitem")
    shown, theirs = (each.sidebar.get_by_role("group", name="Folders") for each in (visit, other))
    await expect(shown).to_be_hidden()
    await put(visit, "Alpha", "工作")
    await put(visit, "Gamma", "Travel")
    for folders in (shown, theirs):
        await expect(folders.get_by_role("link")).to_have_text(["All", "Travel", "工作"])
    for rows in (entries, others):
        await expect(rows.filter(has_text="Alpha").locator(".entry-folder")).to_have_text("工作")
    # The other device shows one of them; what comes into it comes there, too.
    await theirs.get_by_role("link", name="工作").click()
    await expect(others).to_have_text([re.compile("Alpha")])
    await put(visit, "Beta", "工作")
    await expect(others).to_have_text([re.compile("Beta"), re.compile("Alpha")])
    # It is shown on the next page, too.
    await others.first.get_by_role("link").click()
    await other.until_in_a_conversation()
    await other.page.get_by_role("button", name="Show the conversations").click()
    await expect(others).to_have_text([re.compile("Beta"), re.compile("Alpha")])
    # A folder is gone with the last that was in it.
    await put(visit, "Gamma", "")
    for folders in (shown, theirs):
        await expect(folders.get_by_role("link")).to_have_text(["All", "工作"])
    await theirs.get_by_role("link", name="All").click()
    await expect(others).to_have_count(3)
