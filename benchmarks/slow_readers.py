"""What slow readers cost, and what the others notice of them: `python -m benchmarks.slow_readers`.

A reply of 2 MB is told to three tabs. Twenty other sockets are open: in one round they look at another conversation
(idle), in one they read the same reply as a browser does (quick), and in one at 1 KB/s, on a line with next to no buffer
and without acknowledging anything (slow). Rounds alternate, so that what else the machine does falls on all. Told are the
delays of the three, what a slow reader costs of the server's memory beyond another, and what waited in the kernel for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import get_args

from benchmarks.figures import Case, Figures, percentile
from benchmarks.tabs import BenchTab, until_ended
from benchmarks.upstream import DELTA, question
from benchmarks.world import Deployed, Person, World, resident_bytes
from tests.processes import Kind
from tests.services import Server
from tests.slow_reader import SlowTab, on_the_way

MEASURED, OTHERS = 3, 20
#: Bytes a second.
LINE = 1000.0
#: 2 MB in ten seconds.
DELTAS, RATE = 2_000_000 // DELTA, 200_000 // DELTA
ROUNDS = 3
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
#: So that memory given back is seen as given back.
MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}


@dataclass
class Rounds:
    """Of one sort: delays in milliseconds, and at the most of each round the bytes of the server and of one line."""

    delays: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    on_the_way: list[int] = field(default_factory=list)
    wrong: int = 0


async def run(world: World) -> Figures:
    return {kind: await compare(world, world.web(kind, Deployed, **MEMORY)) for kind in get_args(Kind)}


async def compare(world: World, server: Server) -> dict[str, float]:
    sorts = {"idle": Rounds(), "quick": Rounds(), "slow": Rounds()}
    for number in range(ROUNDS + 1):
        for sort, rounds in sorts.items():
            # What only the first ones pay counts for nobody.
            await one_round(world, server, sort, rounds if number else Rounds())
        world.progress(number / ROUNDS)
    slow = sorts["slow"]
    figures: dict[str, float] = {"wrong": sum(rounds.wrong for rounds in sorts.values())}
    for other in ("idle", "quick"):
        more = statistics.median(slow.resident) - statistics.median(sorts[other].resident)
        figures[f"kib_beyond_{other}"] = more / 1024 / OTHERS
        for name, share in SHARES.items():
            ratio = percentile(slow.delays, share) / percentile(sorts[other].delays, share)
            figures[f"{name}_beside_slow_to_{other}"] = ratio
    figures |= {f"delay_{name}_beside_slow": percentile(slow.delays, share) for name, share in SHARES.items()}
    figures["kernel_kib_of_one"] = max(slow.on_the_way) / 1024
    return figures


async def one_round(world: World, server: Server, sort: str, into: Rounds) -> None:
    asking, elsewhere = world.people(2)
    looked_at = elsewhere if sort == "idle" else asking
    async with others(server, looked_at, slow=sort == "slow"):
        tabs = [await BenchTab.open(server, asking) for _ in range(MEASURED)]
        for tab in tabs:
            tab.begin()
        await tabs[0].ask(question(DELTAS, RATE))
        ends = asyncio.ensure_future(until_ended(tabs, 120))
        resident, waiting = [0], [0]
        while not ends.done():
            resident.append(resident_bytes(server))
            waiting += on_the_way(server.port)
            await asyncio.sleep(0.1)
        heard = [tab.heard(DELTAS) for tab in tabs]
        for tab in tabs:
            tab.close()
    into.delays += [delay for each in heard for delay in each.delays]
    into.wrong += ends.result() + sum(each.wrong for each in heard)
    into.resident.append(max(resident))
    into.on_the_way.append(max(waiting))


@contextlib.asynccontextmanager
async def others(server: Server, person: Person, *, slow: bool) -> AsyncIterator[None]:
    """Twenty who look on, on lines like any other or on slow ones."""
    if not slow:
        tabs = [await BenchTab.open(server, person) for _ in range(OTHERS)]
        yield
        for tab in tabs:
            tab.close()
        return
    address = f"127.0.0.1:{server.port}"
    url = f"ws://{address}/ws/conversations/{person.conversation}/"
    options = {"cookie": person.cookie, "origin": f"http://{address}"}
    readers = [await SlowTab(url, rate=LINE, acks=False, **options).open_slowly() for _ in range(OTHERS)]
    yield
    for reader in readers:
        await reader.close()


if __name__ == "__main__":
    Case("slow_readers", run).main()
