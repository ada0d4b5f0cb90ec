"""What it costs that people are there: `python -m benchmarks.idle`.

Sockets of signed-in people that look at conversations in which nothing happens: memory for each, up to 5,000. And what a
delta of twenty running replies costs while a thousand look on in other rooms, and while two hundred look on in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.figures import Case, Figures
from benchmarks.relay import Contender, product
from benchmarks.tabs import BenchTab, until_ended
from benchmarks.upstream import question
from benchmarks.world import Person, World, processor_seconds, resident_bytes
from tests.services import Server

SOCKETS = (1000, 5000)
STREAMS = 20
ROUNDS = 3
ELSEWHERE, HERE = 1000, 200
#: How many sockets are opened at once.
AT_ONCE = 20


async def run(world: World) -> Figures:
    figures: Figures = {}
    for kind in ("uvicorn", "daphne"):
        server = world.web(kind)
        figures[kind] = {**await memory(world, server), **await onlookers(world, server)}
    return figures


async def memory(world: World, server: Server) -> dict[str, float]:
    """What a socket costs that does nothing, beyond the first few hundred, which fill what is empty."""
    people = world.people(max(SOCKETS) + 200)
    tabs = await open_all(server, people[:200])
    await asyncio.sleep(2)
    figures = {"process_mib": resident_bytes(server) / 1024 / 1024}
    before = resident_bytes(server)
    for count in SOCKETS:
        tabs += await open_all(server, people[len(tabs) : count + 200])
        world.progress(count / max(SOCKETS) / 2)
        # What was needed to open them is given back.
        await asyncio.sleep(3)
        figures[f"kib_a_socket_{count}"] = (resident_bytes(server) - before) / 1024 / count
    loop = asyncio.get_running_loop()
    used, began = processor_seconds(server), loop.time()
    await asyncio.sleep(5)
    figures[f"processor_with_{max(SOCKETS)}"] = (processor_seconds(server) - used) / (loop.time() - began)
    close_all(tabs)
    await asyncio.sleep(3)
    return figures


async def onlookers(world: World, server: Server) -> dict[str, float]:
    """The same twenty replies alone, beside a crowd that looks elsewhere, and with one that looks at one of them."""
    alone = Contender("alone", [server], product(world.people(STREAMS), server))
    crowded = Contender("crowded", [server], alone.open)
    crowd = world.people(ELSEWHERE)
    for number in range(ROUNDS + 1):
        await alone.round(STREAMS, [])
        tabs = await open_all(server, crowd)
        await asyncio.sleep(2)
        await crowded.round(STREAMS, [])
        close_all(tabs)
        await asyncio.sleep(2)
        if not number:
            for each in (alone, crowded):
                each.costs.clear()
        world.progress(0.5 + 0.4 * number / ROUNDS)
    costs = sorted(with_them / without for with_them, without in zip(crowded.costs, alone.costs, strict=True))
    frames = await full_room(world, server)
    return {f"with_{ELSEWHERE}_elsewhere": costs[len(costs) // 2], **frames}


async def full_room(world: World, server: Server) -> dict[str, float]:
    """One reply that two hundred look at: what a frame to each of them costs."""
    [person] = world.people(1)
    tabs = await open_all(server, [person] * HERE)
    deltas, rate = 300, 50
    used = processor_seconds(server)
    await tabs[0].ask(question(deltas, rate))
    late = await until_ended(tabs, 60)
    used = processor_seconds(server) - used
    heard = [tab.heard(deltas) for tab in tabs]
    frames = sum(each.frames for each in heard)
    delays = sorted(delay for each in heard for delay in each.delays)
    close_all(tabs)
    return {
        f"microseconds_a_frame_to_{HERE}": 1e6 * used / frames,
        f"delay_p99_of_{HERE}": delays[int(len(delays) * 0.99)],
        "wrong": late + sum(each.wrong for each in heard),
    }


async def open_all(server: Server, people: Sequence[Person]) -> list[BenchTab]:
    tabs: list[BenchTab] = []
    for first in range(0, len(people), AT_ONCE):
        some = people[first : first + AT_ONCE]
        tabs += await asyncio.gather(*(BenchTab.open(server, person) for person in some))
    return tabs


def close_all(tabs: list[BenchTab]) -> None:
    for tab in tabs:
        tab.close()
    tabs.clear()


if __name__ == "__main__":
    Case("idle", run).main()
