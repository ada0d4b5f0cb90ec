"""Fifty people press Send within one second: `python -m benchmarks.press`.

Everybody has the page open. Told are: from Send to the first words, and what failed. The upstream answers at once, so all
of it is our own doing: signing in is done, the message, the queued reply and the version are stored, the model is asked.
"""

from __future__ import annotations

import asyncio
import random

from benchmarks.figures import Case, Figures, percentile
from benchmarks.tabs import BenchTab, until_ended
from benchmarks.upstream import question
from benchmarks.world import World
from tests.services import Server

PEOPLE = 50
ROUNDS = 6
DELTAS, RATE = 50, 50
#: Who has heard nothing by then was let down.
PATIENCE = 30.0


async def run(world: World) -> Figures:
    return {kind: await crowd(world, world.web(kind)) for kind in ("uvicorn", "daphne")}


async def crowd(world: World, server: Server) -> dict[str, float]:
    chance = random.Random(1)
    firsts: list[float] = []
    errors = wrong = 0
    everybody = world.people(PEOPLE)
    for number in range(ROUNDS + 1):
        tabs = [await BenchTab.open(server, person) for person in everybody]
        results = await asyncio.gather(*(press(tab, chance.random()) for tab in tabs))
        await until_ended(tabs, PATIENCE)
        if number:  # the first is for cold caches
            firsts += [first for first in results if first is not None]
            errors += sum(first is None for first in results)
            wrong += sum(tab.heard(DELTAS).wrong for tab in tabs)
        for tab in tabs:
            tab.close()
        world.progress(number / ROUNDS)
        await asyncio.sleep(0.5)
    return {
        "first_p50": percentile(firsts, 0.5),
        "first_p99": percentile(firsts, 0.99),
        "errors": errors,
        "wrong": wrong,
        "pressed": ROUNDS * PEOPLE,
    }


async def press(tab: BenchTab, after: float) -> float | None:
    """Press Send after so many seconds; milliseconds to the first words, or None where none came."""
    await asyncio.sleep(after)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await tab.ask(question(DELTAS, RATE))
            await tab.spoken.wait()
    except (TimeoutError, ConnectionError):
        return None
    return tab.first_token if answer.type == "command_done" else None


if __name__ == "__main__":
    Case("press", run).main()
