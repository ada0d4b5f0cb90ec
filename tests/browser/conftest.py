"""A real browser, and an eye on everything that it complains about."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect
from playwright.async_api import Request as PageRequest

from tests.conftest import Chat, LiveServer
from tests.upstream import Upstream

PASSWORD = "correct horse battery staple"

#: Chromium asks the network for nothing of its own; as root it has no sandbox.
OPTIONS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]

# A violation is reported as an event, not everywhere as an error of the console.
WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} forbids ${event.blockedURI || event.sample}`));
"""


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
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
        page.set_default_timeout(10_000)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def requested(self, request: PageRequest) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])

    async def goto(self, path: str) -> None:
        await self.page.goto(self.server.url + path)

    async def sign_in(self, name: str = "alice", password: str = PASSWORD) -> None:
        await self.goto("/")
        await self.page.get_by_label("Username or e-mail address").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()

    @property
    def sidebar(self) -> Any:
        return self.page.get_by_role("navigation", name="Conversations")

    @property
    def composer(self) -> Any:
        return self.page.locator("#composer").get_by_role("textbox", name="Your message")

    @property
    def stop_button(self) -> Any:
        return self.page.get_by_role("button", name="Stop the reply")

    async def ask(self, text: str) -> None:
        await self.composer.fill(text)
        await self.page.get_by_role("button", name="Send", exact=True).click()
        await self.until_alive()

    async def reload(self) -> None:
        await self.page.reload()
        await self.until_alive()

    async def until_alive(self) -> None:
        """Until the scripts have taken over what the server had rendered: they write the times of the messages."""
        await expect(self.page.locator("article time").first).not_to_be_empty()

    @property
    def reply(self) -> Any:
        """The last reply on the page."""
        return self.page.locator("article.assistant").last

    @property
    def question(self) -> Any:
        return self.page.locator("article.user").last


class OpenPage(Protocol):
    async def __call__(self, **options: Any) -> Visit: ...


@pytest.fixture
async def upstream(upstream: Upstream, chat: Chat) -> Upstream:
    """A browser takes its time, and with it a test that holds a reply up."""
    chat(silence_seconds=60.0)
    return upstream


@pytest.fixture
async def open_page(browser: Browser, server: LiveServer) -> AsyncIterator[OpenPage]:
    """Opens a page of a browser that knows nobody; at the end none may have complained, nor gone anywhere else."""
    visits: list[Visit] = []

    async def open_page(**options: Any) -> Visit:
        context = await browser.new_context(**options)
        await context.add_init_script(WATCH)
        visits.append(Visit(await context.new_page(), server))
        return visits[-1]

    yield open_page
    assert [problem for visit in visits for problem in visit.problems] == []
    assert {host for visit in visits for host in visit.hosts} <= {server.url.removeprefix("http://")}


@pytest.fixture
def alice(alice: User) -> User:
    """Alice, who knows her password."""
    alice.set_password(PASSWORD)
    alice.save()
    return alice


@pytest.fixture
async def visit(alice: User, open_page: OpenPage) -> Visit:
    """Alice, signed in, before the page of a new conversation."""
    visit = await open_page()
    await visit.sign_in()
    return visit
