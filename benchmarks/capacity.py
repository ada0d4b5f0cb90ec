"""How many replies one process relays at once, in time: `python -m benchmarks.capacity`.

Each reply has fifty deltas a second and one viewer. More and more of them run, until a delta in a hundred is later than
100 ms. What the upstream and the viewers use of the machine is part of it: on two processors the process has one of them.
"""

from __future__ import annotations

import asyncio

from benchmarks.figures import Case, Figures, percentile
from benchmarks.tabs import BenchTab, until_ended
from benchmarks.upstream import question
from benchmarks.world import World, processor_seconds
from tests.processes import Kind
from tests.services import Server

RATE = 50
#: Streams at once, step by step.
STEPS = (50, 100, 150, 200, 250, 300, 350, 400)
BOUND = 100.0
#: Seconds in which replies begin, and for which they are measured together.
BEGINNING, MEASURED = 3.0, 6.0
DELTAS = int(RATE * (BEGINNING + MEASURED))


async def run(world: World) -> Figures:
    kinds: tuple[Kind, ...] = ("uvicorn", "daphne") if world.topology == "sqlite" else ("uvicorn",)
    return {kind: await climb(world, world.web(kind)) for kind in kinds}


async def climb(world: World, server: Server) -> dict[str, float]:
    """Take step after step as long as it holds."""
    figures: dict[str, float] = {"streams": 0.0, "wrong": 0.0}
    for number, streams in enumerate(STEPS):
        delays, wrong, load = await step(world, server, streams)
        p99 = percentile(delays, 0.99)
        figures["wrong"] += wrong
        figures[f"p99_at_{streams}"] = p99
        figures[f"processor_at_{streams}"] = load
        world.progress((number + 1) / len(STEPS))
        if p99 > BOUND:
            break
        figures["streams"] = streams
    return figures


async def step(world: World, server: Server, streams: int) -> tuple[list[float], int, float]:
    """Run so many replies at once: delays in milliseconds while all of them run, what was lost or doubled, and how much
    of a processor the server used."""
    loop = asyncio.get_running_loop()
    tabs = [await BenchTab.open(server, person) for person in world.people(streams)]
    asking = []
    for tab in tabs:
        asking.append(asyncio.create_task(tab.ask(question(DELTAS, RATE))))
        await asyncio.sleep(BEGINNING / streams * 0.9)
    await asyncio.gather(*asking)
    used, began = processor_seconds(server), loop.time()
    from_now = [len(tab.frames) for tab in tabs]
    await asyncio.sleep(MEASURED - 1)
    load = (processor_seconds(server) - used) / (loop.time() - began)
    until_now = [len(tab.frames) for tab in tabs]
    late = await until_ended(tabs, 60)
    heard = [tab.heard(DELTAS) for tab in tabs]
    places = zip(tabs, from_now, until_now, strict=True)
    delays = [delay for tab, first, last in places for delay in tab.delays_between(first, last)]
    for tab in tabs:
        tab.close()
    await asyncio.sleep(1)
    return delays, late + sum(each.wrong for each in heard), load


if __name__ == "__main__":
    Case("capacity", run).main()
