"""What is asked of each state of a page: axe finds nothing, nothing reaches over the edge of a small screen."""

from __future__ import annotations

import os
from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize

from chatproject.npm import NODE_MODULES
from tests.browser.conftest import Visit

AXE = NODE_MODULES / "axe-core" / "axe.min.js"

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
#: 320 pixels are the least; half of 1280 are what is left at 200 %.
NARROW: list[ViewportSize] = [{"width": 320, "height": 640}, {"width": 640, "height": 400}]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: All that a colour scheme changes.
COLOURS = ["color-contrast", "link-in-text-block"]

# What is placed by a script comes a frame later, and colours may fade into each other.
SETTLED = """async () => {
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
}"""

# Nothing is fetched for it, and a rule of WCAG 2.2 that is off unless it is asked for is on.
RUN = """([root, only, off, tags]) => axe.run(root, {
  preload: false, resultTypes: ["violations"], elementRef: false,
  runOnly: only ? { type: "rule", values: only } : { type: "tag", values: tags },
  rules: { "target-size": { enabled: !only }, ...Object.fromEntries(off.map((id) => [id, { enabled: false }])) },
}).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes
  .filter(({ failureSummary }) => !failureSummary.includes("partially obscured")) // it can be scrolled from under the edge
  .slice(0, 3).map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary.slice(0, 220)}`)))
"""

# What is wider than the page, and neither scrolls for itself nor is cut off by what it is in.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const isHeld = (element) => {
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement)
      if (getComputedStyle(box).overflowX !== "visible") return true;
    return false;
  };
  return [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > width + 1 && !isHeld(element))
    .map((element) => element.outerHTML.slice(0, 120)).slice(-3);
}"""


def source_of_axe() -> str:
    if not AXE.exists():
        if os.environ.get("CI"):
            pytest.fail("axe-core is not installed (manage.py setup --for-checks)")
        pytest.skip("axe-core is not installed (manage.py setup --for-checks)")
    return AXE.read_text("utf-8")


class Judge:
    """Looks at a page as it stands, light and dark, large and small; what is wrong is in `found`."""

    def __init__(self) -> None:
        self.axe = source_of_axe()
        self.off: list[str] = []
        self.found: list[str] = []
        self.looks = 0

    async def look(
        self, where: Visit | Page, state: str, root: str = "html", sizes: tuple[str, ...] = ("desktop", "phone")
    ) -> None:
        """All rules at each size in light; those of colours in dark, which no size changes."""
        page = where.page if isinstance(where, Visit) else where
        self.looks += 1
        if not await page.evaluate("typeof axe !== 'undefined'"):
            # By way of the debugger, which no Content-Security-Policy holds up.
            await page.evaluate(self.axe)
        for size in sizes:
            await page.set_viewport_size(DESKTOP if size == "desktop" else PHONE)
            await self.ask(page, f"{state}, {size}", root, None)
            if size == sizes[0]:
                await page.emulate_media(color_scheme="dark")
                await self.ask(page, f"{state}, {size}, dark", root, COLOURS)
                await page.emulate_media(color_scheme="light")
        for narrow in NARROW if sizes == ("desktop", "phone") else []:
            await page.set_viewport_size(narrow)
            await page.evaluate(SETTLED)
            self.found += [f"{state}, {narrow['width']} px: too wide: {what}" for what in await page.evaluate(TOO_WIDE)]
        await page.set_viewport_size(DESKTOP)

    async def ask(self, page: Page, state: str, root: str, only: list[str] | None) -> None:
        await page.evaluate(SETTLED)
        told: list[Any] = await page.evaluate(RUN, [root, only, self.off, TAGS])
        self.found += [f"{state}: {each}" for each in told]


# What has the focus: whether a ring shows it (a text field may leave that to the box around it), and whether something hides it.
FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const has = (box) => getComputedStyle(box).outlineStyle !== "none" && parseFloat(getComputedStyle(box).outlineWidth) >= 1;
  let shows = has(element);
  for (let box = element.parentElement; element.matches("input, textarea") && !shows && box; box = box.parentElement) shows = has(box);
  const { left, right, top, bottom } = element.getBoundingClientRect();
  const points = [[left + 3, top + 3], [right - 3, bottom - 3], [(left + right) / 2, (top + bottom) / 2], [left + 3, bottom - 3], [right - 3, top + 3]];
  const seen = points.some(([x, y]) => element.contains(document.elementFromPoint(x, y)));
  const known = element.dataset.walked;
  element.dataset.walked = "yes";
  return { known: !!known, what: element.outerHTML.slice(0, 120), shows, seen };
}"""


async def walk(page: Page, most: int = 150) -> tuple[int, list[str]]:
    """Tabs through a page; how many stops there were, and at which of them one does not see where one is."""
    wrong: list[str] = []
    stops = 0
    for _ in range(most):
        await page.keyboard.press("Tab")
        focused: Any = await page.evaluate(FOCUSED)
        if focused is None:  # behind the last comes the first
            continue
        if focused["known"]:
            return stops, wrong
        stops += 1
        wrong += [f"no ring: {focused['what']}"] if not focused["shows"] else []
        wrong += [f"hidden: {focused['what']}"] if not focused["seen"] else []
    raise AssertionError("the focus never comes back")
