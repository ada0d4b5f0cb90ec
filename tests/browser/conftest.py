"""A real browser, and an eye on everything that it complains about.

Starting one costs more than most tests do with it, so a worker has one for all of them. Therefore all that is asynchronous here
lives in the loop of the folder, and the fixtures of the other tests come again for it. What a test opens is its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from django.conf import settings
from django.contrib.auth.models import User
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright, expect
from playwright.async_api import Request as PageRequest

from tests.conftest import (
    Chat,
    LiveServer,
    OpenTab,
    StartProcess,
    asession_of,
    opening_tabs,
    providing,
    serving,
    starting_processes,
)
from tests.upstream import Upstream

#: A busy machine needs long for what takes a blink; who waits for something that comes does not wait so long.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

#: Chromium asks the network for nothing of its own; as root it has no sandbox.
OPTIONS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]

# A violation is reported as an event, not everywhere as an error of the console.
WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} forbids ${event.blockedURI || event.sample}`));
"""


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder share a loop. The hook is called with those of other folders, too."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed (Debian: apt install chromium)")
        pytest.skip("Chromium is not installed (Debian: apt install chromium), nor named by CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=OPTIONS, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="package")
async def upstream(chat: Chat) -> AsyncIterator[Upstream]:
    """A browser takes its time, and with it a test that holds a reply up."""
    async with providing(chat, silence_seconds=60.0) as upstream:
        yield upstream


@pytest_asyncio.fixture(loop_scope="package")
async def server(transactional_db: None, upstream: Upstream) -> AsyncIterator[LiveServer]:
    async with serving() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="package")
async def open_tab(server: LiveServer) -> AsyncIterator[OpenTab]:
    async with opening_tabs(server) as open_tab:
        yield open_tab


@pytest_asyncio.fixture(loop_scope="package")
async def start_process(transactional_db: None, upstream: Upstream) -> AsyncIterator[StartProcess]:
    async with starting_processes(upstream) as start_process:
        yield start_process


#: The address of a conversation.
CONVERSATION = re.compile(r"/conversations/[0-9a-f-]{36}/")


#: What Chromium says when a page is left while it connects: a test that ends, a link that is followed at once. A socket
#: that cannot be opened is not hidden by this: such a page never says that it is connected.
LEFT_EARLY = "WebSocket is closed before the connection is established"


class Visit:
    """Somebody in front of a page. What the browser complained about is in `problems`, where it went in `hosts`."""

    def __init__(self, page: Page, server: LiveServer) -> None:
        self.page = page
        self.server = server
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self.requested)
        page.set_default_timeout(PATIENCE_MS)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and LEFT_EARLY not in message.text:
            self.problems.append(f"{message.type}: {message.text}")

    def requested(self, request: PageRequest) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])

    async def goto(self, path: str) -> None:
        """Opens a page of somebody who is signed in."""
        await self.page.goto(self.server.url + path)
        await self.until_alive()

    async def enter_password(self, password: str, name: str = "alice") -> None:
        await self.page.goto(self.server.url)
        await self.page.get_by_label("Username or e-mail address").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()

    async def sign_in(self, name: str = "alice") -> None:
        """Comes as somebody who has entered the password another day."""
        session = await asession_of(await User.objects.aget(username=name))
        cookie: Any = {"name": settings.SESSION_COOKIE_NAME, "value": session, "url": self.server.url, "httpOnly": True}
        await self.page.context.add_cookies([cookie])
        await self.goto("/")

    @property
    def sidebar(self) -> Locator:
        return self.page.get_by_role("navigation", name="Conversations")

    @property
    def composer(self) -> Locator:
        return self.page.locator("#composer").get_by_role("textbox", name="Your message")

    @property
    def send_button(self) -> Locator:
        return self.page.get_by_role("button", name="Send", exact=True)

    @property
    def stop_button(self) -> Locator:
        return self.page.get_by_role("button", name="Stop the reply")

    async def ask(self, text: str) -> None:
        await self.composer.fill(text)
        await self.send_button.click()
        await self.until_in_a_conversation()

    async def reload(self) -> None:
        await self.page.reload()
        await self.until_alive()

    async def until_in_a_conversation(self) -> None:
        """From the page of a new one Send leads to another page: the one that is left is alive, too."""
        await self.page.wait_for_url(CONVERSATION)
        await self.until_alive()

    async def until_home(self) -> None:
        await self.page.wait_for_url(f"{self.server.url}/")
        await self.until_alive()

    async def until_alive(self) -> None:
        """Until the scripts have taken over what the server had rendered, and are connected. Whoever presses a key before
        that does what a page without scripts makes of it."""
        await expect(self.page.locator("html[data-alive][data-connected]")).to_be_attached()

    @property
    def reply(self) -> Locator:
        """The last reply on the page."""
        return self.page.locator("article.assistant").last

    @property
    def question(self) -> Locator:
        return self.page.locator("article.user").last


class OpenPage(Protocol):
    async def __call__(self, **options: Any) -> Visit: ...


@pytest_asyncio.fixture(loop_scope="package")
async def open_page(browser: Browser, server: LiveServer) -> AsyncIterator[OpenPage]:
    """Opens a page of a browser that knows nobody; at the end none may have complained, nor gone anywhere else."""
    visits: list[Visit] = []

    async def open_page(**options: Any) -> Visit:
        context = await browser.new_context(**options)
        await context.add_init_script(WATCH)
        visits.append(Visit(await context.new_page(), server))
        return visits[-1]

    yield open_page
    for visit in visits:
        await visit.page.context.close()
    assert [problem for visit in visits for problem in visit.problems] == []
    assert {host for visit in visits for host in visit.hosts} <= {server.url.removeprefix("http://")}


@pytest_asyncio.fixture(loop_scope="package")
async def visit(alice: User, open_page: OpenPage) -> Visit:
    """Alice, signed in, before the page of a new conversation."""
    visit = await open_page()
    await visit.sign_in()
    return visit
