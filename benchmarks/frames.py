"""What a long reply does to a page: `python -m benchmarks.frames`.

In Chromium, with the real page, socket and server. A reply of 30,000 tokens: most of it comes at once, and the last tokens,
when the page is longest, at 100 a second; these are measured, and the second after the end. Beside it, in turn, the same
reply in a page that parses all of it anew with each frame (`anew.html`). Then blocks that do not end. Told are frames a
second and their times, tasks of more than 50 ms, and what the renderer used of a processor; an empty page shows what this
browser is capable of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from benchmarks.chromium import chromium, page_of, renderer_seconds
from benchmarks.figures import Case, Figures, percentile
from benchmarks.tabs import BenchTab
from benchmarks.texts import TOKEN, text
from benchmarks.upstream import reading
from benchmarks.world import World
from tests.processes import ServerProcess

HERE = Path(__file__).parent
RATE, LAST, LAST_OF_BLOCK, ROUNDS = 100, 1_000, 400, 2
#: By what they are called on the page of the figures.
BLOCKS = {
    "list of 2,000 items": "list",
    "table of 1,000 rows": "table",
    "code of 5,000 lines": "code",
    "paragraph of 100 kB": "paragraph",
    "maths in each of 600 lines": "maths",
    "list 40 levels deep": "nested",
    "Chinese, 60,000 signs": "chinese",
}
SMOOTH_MS = 34


async def run(world: World) -> Figures:
    server = world.web("uvicorn")
    figures: Figures = {}
    async with chromium() as browser:
        figures["an empty page"] = await empty(world, browser, server)
        found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for number in range(ROUNDS):
            for anew in (False, True):
                found[anew].append(await stream(world, browser, server, "answer", LAST, anew))
            world.progress((number + 1) / (ROUNDS + 3))
        figures["30,000 tokens"] = in_figures(found[False])
        figures["30,000 tokens, parsed anew each time"] = in_figures(found[True])
        for number, (name, kind) in enumerate(BLOCKS.items()):
            figures[name] = in_figures([await stream(world, browser, server, kind, LAST_OF_BLOCK)])
            world.progress((ROUNDS + 3 * number / len(BLOCKS)) / (ROUNDS + 3))
    best = figures["an empty page"]["frames_a_second"]
    for of in figures.values():
        of["ratio"] = of["frames_a_second"] / best
    blocks = [figures[name] for name in BLOCKS]
    figures["blocks"] = {
        "ratio": min(of["ratio"] for of in blocks),
        "long_tasks": sum(of["long_tasks"] for of in blocks),
        "longest": max(of["longest"] for of in blocks),
    }
    return figures


async def empty(world: World, browser: Browser, server: ServerProcess) -> dict[str, float]:
    async with page_of(browser, world.people(1)[0], server.url) as page:
        await page.add_init_script(f"({(HERE / 'frames.js').read_text()})(Infinity)")
        await page.goto(f"{server.url}/static/css/colors.css")
        before = renderer_seconds()
        await page.evaluate("measureFor(3000)")
        return in_figures([{**await page.evaluate("measured"), "processor": renderer_seconds() - before}])


async def stream(
    world: World, browser: Browser, server: ServerProcess, kind: str, last: int, anew: bool = False
) -> dict[str, Any]:
    """Show one text as it comes, to somebody who has just opened the page."""
    [person] = world.people(1)
    begin = len(text(kind)) - last * TOKEN
    async with page_of(browser, person, server.url) as page:
        await page.add_init_script(f"({(HERE / 'frames.js').read_text()})({begin})")
        if anew:
            # In the place of a file of the same server, which has no policy for scripts.
            await page.goto(f"{server.url}/static/css/colors.css#{person.conversation}")
            await page.set_content((HERE / "anew.html").read_text())
        else:
            await page.goto(f"{server.url}/conversations/{person.conversation}/")
        await page.locator("html[data-connected]").wait_for(state="attached")
        tab = await BenchTab.open(server, person)
        answer = await tab.ask(reading(kind, last, RATE))
        assert answer.type == "command_done", answer
        tab.close()
        await page.evaluate("begun")
        before = renderer_seconds()
        found: dict[str, Any] = await page.evaluate("measured")
        found["processor"] = renderer_seconds() - before
        assert found["characters"] > begin / 2, f"{kind}: only {found['characters']} characters are shown"
        return found


def in_figures(found: list[dict[str, Any]]) -> dict[str, float]:
    spans = [span for each in found for span in each["spans"]]
    tasks = [task for each in found for task in each["tasks"]]
    seconds = sum(each["seconds"] for each in found)
    return {
        "frames_a_second": 1000 * len(spans) / sum(spans),
        "frame_p50": percentile(spans, 0.5),
        "frame_p99": percentile(spans, 0.99),
        "late_frames": 100 * sum(span > SMOOTH_MS for span in spans) / len(spans),
        "long_tasks": len(tasks),
        "longest": max(tasks, default=0.0),
        "processor": sum(each["processor"] for each in found) / seconds,
    }


if __name__ == "__main__":
    Case("frames", run).main()
