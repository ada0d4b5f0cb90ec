"""The page behind a proxy that lets no WebSocket through: it goes on over the event stream, and nobody notices."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.async_api import Browser, Locator, expect

from conversations.models import Message
from streaming import events
from tests.browser.conftest import PATIENCE_MS, Visit
from tests.conftest import LiveServer
from tests.proxy import Manner, Proxy
from tests.scripts import Hold, Reason, Script, Stall, many
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="package"),
]

#: A browser says in its console what it thinks of a socket that does not open; so it does of an answer that is no 200.
EXPECTED = re.compile(r"WebSocket connection to|Failed to load resource|ERR_INCOMPLETE_CHUNKED_ENCODING")

MANNERS: list[Manner] = ["refuse", "hang", "cut", "swallow"]


class OpenBehind(Protocol):
    async def __call__(self, manner: Manner, **options: Any) -> tuple[Visit, Proxy]: ...


@pytest_asyncio.fixture(loop_scope="package")
async def open_behind(browser: Browser, server: LiveServer) -> AsyncIterator[OpenBehind]:
    """Opens a page behind a proxy of its own; none may complain of anything but of sockets that do not open."""
    opened: list[tuple[Visit, Proxy]] = []

    async def open_behind(manner: Manner, **options: Any) -> tuple[Visit, Proxy]:
        proxy = await Proxy(server.url, manner).__aenter__()
        context = await browser.new_context(**options)
        opened.append((Visit(await context.new_page(), LiveServer(proxy.url)), proxy))
        return opened[-1]

    yield open_behind
    for visit, proxy in opened:
        await visit.page.context.close()
        await proxy.__aexit__(None, None, None)
    problems = [problem for visit, _ in opened for problem in visit.problems]
    assert [problem for problem in problems if not EXPECTED.search(problem)] == []


def banner(visit: Visit) -> Locator:
    return visit.page.locator("#connection")


@pytest.mark.parametrize("manner", MANNERS)
async def test_where_no_socket_comes_through_all_goes_on(
    open_behind: OpenBehind, alice: User, upstream: Upstream, manner: Manner
) -> None:
    upstream.answer(Script([Reason("Hm."), "One, ", "two, ", Hold(), "three."]))
    visit, proxy = await open_behind(manner)
    await visit.sign_in()
    await visit.ask("Count to three.")
    await expect(visit.reply).to_contain_text("One, two,")
    await expect(banner(visit)).to_be_hidden()
    upstream.posts[0].go_on()
    await expect(visit.reply).to_contain_text("One, two, three.")
    await expect(visit.stop_button).to_be_hidden()
    # Two pages, and each tries two sockets at the most; mostly the first has learnt what the second begins with.
    assert 1 <= proxy.sockets <= 4
    await visit.ask("And then?")
    await expect(visit.reply).to_contain_text("You said: And then?")
    await expect(visit.sidebar).to_contain_text("Count to three.")
    assert proxy.asked(f"/conversations/{conversation_of(visit)}/commands/")
    assert len(upstream.posts) == 2


def conversation_of(visit: Visit) -> str:
    return visit.page.url.split("/")[-2]


async def test_stop_reaches_the_model(open_behind: OpenBehind, alice: User, upstream: Upstream) -> None:
    upstream.answer(Script(["Hello, ", "world", Stall()]))
    visit, _ = await open_behind("refuse")
    await visit.sign_in()
    await visit.ask("Talk")
    await expect(visit.reply).to_contain_text("Hello, world")
    await visit.stop_button.click()
    await expect(visit.reply).to_contain_text("Stopped.")
    await upstream.posts[0].until_closed(seconds=5)
    assert (await Message.objects.aget(role="assistant")).text == "Hello, world"


async def test_a_reload_in_the_middle_loses_nothing(open_behind: OpenBehind, alice: User, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", "two, ", Hold(), "three."]))
    visit, proxy = await open_behind("refuse")
    await visit.sign_in()
    await visit.ask("Count.")
    await expect(visit.reply).to_contain_text("One, two,")
    sockets = proxy.sockets
    await visit.reload()
    assert proxy.sockets == sockets
    upstream.posts[0].go_on()
    await expect(visit.reply).to_contain_text("One, two, three.")
    assert len(upstream.posts) == 1


async def test_a_network_that_goes_away_and_comes_back_loses_nothing(
    open_behind: OpenBehind, alice: User, upstream: Upstream
) -> None:
    script = many(60, pace=0.05)
    upstream.answer(Script(["One, ", Hold(), *script.steps], pace=0.02))
    visit, proxy = await open_behind("refuse")
    await visit.sign_in()
    await visit.ask("Talk.")
    await expect(visit.reply).to_contain_text("One,")
    upstream.posts[0].go_on()
    for number in range(10, 60, 20):
        await expect(visit.reply).to_contain_text(f"word-{number} ")
        await proxy.cut_all()
    await expect(visit.stop_button).to_be_hidden()
    said = (await Message.objects.aget(role="assistant")).text
    assert await visit.reply.locator(".message-text").inner_text() == said.strip()


async def test_who_was_signed_out_elsewhere_is_sent_to_sign_in(open_behind: OpenBehind, alice: User) -> None:
    visit, _ = await open_behind("refuse")
    await visit.sign_in()
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    await Session.objects.all().adelete()
    await expect(banner(visit)).to_contain_text("You are signed out.")
    await visit.page.get_by_role("button", name="Sign in").click()
    await expect(visit.page.get_by_label("Password")).to_be_visible()


async def test_a_conversation_that_is_deleted_in_another_tab_says_so_here(open_behind: OpenBehind, alice: User) -> None:
    visit, _ = await open_behind("refuse")
    await visit.sign_in()
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    other = Visit(await visit.page.context.new_page(), visit.server)
    await other.page.goto(visit.page.url)
    await other.until_alive()
    entry = other.sidebar.get_by_role("listitem").first
    await entry.hover()
    await entry.get_by_label("What to do with this conversation").click()
    await entry.get_by_role("button", name="Delete").click()
    await expect(banner(visit)).to_contain_text("does not exist any more")
    await visit.page.get_by_role("button", name="Start a new conversation").click()
    await visit.until_home()


async def test_a_phone_in_chinese_in_the_dark_is_told_that_it_is_signed_out(
    open_behind: OpenBehind, alice: User
) -> None:
    visit, _ = await open_behind(
        "refuse",
        viewport={"width": 360, "height": 740},
        is_mobile=True,
        has_touch=True,
        color_scheme="dark",
        locale="zh-CN",
    )
    await visit.sign_in()
    await Session.objects.all().adelete()
    await expect(banner(visit)).to_contain_text("已退出登录")
    assert await visit.page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_sockets_are_used_again_when_they_come_through(open_behind: OpenBehind, alice: User) -> None:
    visit, proxy = await open_behind("refuse")
    await visit.sign_in()
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    proxy.manner = "pass"
    proxy.requests.clear()
    # As if the time for another look had come.
    await visit.page.evaluate("""sessionStorage.setItem("parley:transport", '{"looks": 0, "lookAt": 1}')""")
    await visit.reload()
    # A look begins after five seconds, and a socket has to live for five more.
    path = f"/ws/conversations/{conversation_of(visit)}/"
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not proxy.asked(path):
            await asyncio.sleep(0.1)
    await visit.until_alive()
    await visit.ask("And now?")
    await expect(visit.reply).to_contain_text("You said: And now?")
    assert await visit.page.evaluate("""sessionStorage.getItem("parley:transport")""") is None


# An old page against a new server


async def test_a_page_that_is_too_old_reloads_once_and_keeps_the_draft(
    open_behind: OpenBehind, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, proxy = await open_behind("pass")
    await visit.sign_in()
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    await visit.composer.press_sequentially("Half a thought")
    page = f"GET /conversations/{conversation_of(visit)}/ HTTP/1.1"
    loads = proxy.requests.count(page)
    monkeypatch.setattr(events, "PROTOCOLS", frozenset({"2"}))
    await proxy.cut_all()
    await expect(banner(visit)).to_contain_text("older version of the server")
    await expect(visit.composer).to_have_value("Half a thought")
    assert proxy.requests.count(page) == loads + 1
    monkeypatch.undo()
    await visit.page.get_by_role("button", name="Reload the page").click()
    await visit.until_alive()
    await expect(visit.composer).to_have_value("Half a thought")
    await expect(banner(visit)).to_be_hidden()


async def test_a_page_that_is_too_old_does_not_reload_over_an_edit(
    open_behind: OpenBehind, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, proxy = await open_behind("pass")
    await visit.sign_in()
    await visit.ask("First wording")
    await expect(visit.reply).to_contain_text("You said: First wording")
    await visit.question.hover()
    await visit.question.get_by_role("button", name="Edit and send again").click()
    await visit.question.get_by_role("textbox").fill("Second wording")
    monkeypatch.setattr(events, "PROTOCOLS", frozenset({"2"}))
    await proxy.cut_all()
    await expect(banner(visit)).to_contain_text("older version of the server")
    await expect(visit.question.get_by_role("textbox")).to_have_value("Second wording")
