"""Draws static/app-icon.svg as the PNGs that home screens want: python tools/icons.py [chromium]. Run by whoever changes the drawing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import async_playwright

STATIC = Path(__file__).parent.parent / "static"
#: iOS takes 180; Android 192 and 512.
SIZES = (180, 192, 512)


async def draw(chromium: str) -> None:
    drawing = (STATIC / "app-icon.svg").read_text("utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        for size in SIZES:
            page = await browser.new_page(viewport={"width": size, "height": size})
            await page.set_content(
                f"<style>* {{ margin: 0 }} svg {{ display: block; width: {size}px }}</style>{drawing}"
            )
            await page.screenshot(path=STATIC / f"app-icon-{size}.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(draw(sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium"))
