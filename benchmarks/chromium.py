"""A real browser for the benchmarks, and what it uses of a processor."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator

import psutil
from playwright.async_api import Browser, Page, async_playwright

from benchmarks.world import Person

#: It asks the network for nothing of its own; as root it has no sandbox.
OPTIONS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
#: As wide as a laptop, and as high.
WINDOW = {"width": 1280, "height": 800}


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path is not None, "Chromium is not installed (Debian: apt install chromium)"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=OPTIONS, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def page_of(browser: Browser, person: Person, url: str) -> AsyncIterator[Page]:
    """A page of a browser in which this person is signed in at the server."""
    context = await browser.new_context(viewport={"width": WINDOW["width"], "height": WINDOW["height"]})
    name, _, value = person.cookie.partition("=")
    await context.add_cookies([{"name": name, "value": value, "url": url}])
    page = await context.new_page()
    page.set_default_timeout(120_000)
    yield page
    await context.close()


def renderer_seconds() -> float:
    """What the renderers of our browser have used of a processor."""
    total = 0.0
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("--type=renderer" in word for word in each.cmdline()):
                times = each.cpu_times()
                total += times.user + times.system
    return total
