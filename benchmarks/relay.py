"""What it costs to relay a reply, against a relay that does nothing else: `python -m benchmarks.relay`.

Twenty replies run at once, fifty deltas a second each, one viewer each. In turn they run through the floor (`floor.py`),
through a tutorial's design (`tutorial.py`) and through the product with everything on: sign-in, storing before saying,
positions, acknowledgements. Of each is told: processor time per delta of all its processes, as a ratio to the floor of the
same round; the delay added to a delta; the first token, from Send; what was lost or doubled; bytes per character of text;
memory per stream. What PostgreSQL and Redis themselves use stands apart.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Case, Figures, percentile
from benchmarks.tabs import BenchTab, Heard, until_ended
from benchmarks.upstream import question
from benchmarks.world import Person, World, processor_seconds, resident_bytes
from tests.services import Server

STREAMS, RATE = 20, 50
#: Seconds before and while it is measured.
WARM, MEASURED = 1.5, 5.0
DELTAS = int(RATE * (WARM + MEASURED + 1.0))
ROUNDS = 5

Open = Callable[[int], Awaitable[list[tuple[BenchTab, BenchTab]]]]


@dataclass
class Contender:
    """A relay: its processes, and how to open so many pairs of tabs, of which one asks and one reads."""

    name: str
    servers: list[Server]
    open: Open
    costs: list[float] = field(default_factory=list)  # microseconds a delta
    services: list[float] = field(default_factory=list)  # of PostgreSQL and Redis, too
    delays: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # KiB a stream
    heard: list[Heard] = field(default_factory=list)

    async def round(self, streams: int, services: Sequence[Server]) -> None:
        """Run so many replies at once and write down what they cost."""
        pairs = await self.open(streams)
        before = sum(map(resident_bytes, self.servers))
        for asker, reader in pairs:
            reader.begin()
            await press(asker, reader)
            # Streams of real people do not begin in the same moment.
            await asyncio.sleep(1 / RATE / streams * 7)
        await asyncio.sleep(WARM)
        used, around = processor_seconds(*self.servers), processor_seconds(*services)
        counted = sum(len(reader.frames) for _, reader in pairs)
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(MEASURED)
        lasted = asyncio.get_running_loop().time() - began
        deltas = streams * RATE * lasted
        assert sum(len(reader.frames) for _, reader in pairs) > counted, f"{self.name} says nothing"
        self.costs.append(1e6 * (processor_seconds(*self.servers) - used) / deltas)
        self.services.append(1e6 * (processor_seconds(*services) - around) / deltas)
        self.memory.append((sum(map(resident_bytes, self.servers)) - before) / 1024 / streams)
        late = await until_ended([reader for _, reader in pairs], 30)
        assert not late, f"{late} replies of {self.name} did not end"
        for asker, reader in pairs:
            heard = reader.heard(DELTAS)
            self.heard.append(heard)
            self.delays += heard.delays
            self.firsts.append((reader.first_at or 0) / 1e6 - asker.sent_at / 1e6)
            asker.close()
            reader.close()

    @property
    def wrong(self) -> int:
        return sum(heard.wrong for heard in self.heard)

    @property
    def overhead(self) -> float:
        """Bytes on the wire for each character of text."""
        return sum(heard.size for heard in self.heard) / sum(heard.characters for heard in self.heard)


async def press(asker: BenchTab, reader: BenchTab) -> None:
    answer = asyncio.ensure_future(asker.ask(question(DELTAS, RATE)))
    try:
        await asyncio.wait_for(reader.spoken.wait(), 30)
    except TimeoutError:
        raise RuntimeError(f"asked, and nothing came: {answer}") from None
    answer.cancel()  # it was answered, or nothing would have been said; the floor answers nothing
    if asker is not reader:
        asker.close()  # it would be told all of it, too


def bare(server: Server, path: str = "/") -> Open:
    """Tabs of a relay that knows nobody."""

    async def open_tabs(streams: int) -> list[tuple[BenchTab, BenchTab]]:
        url = f"ws://127.0.0.1:{server.port}{path}"
        tabs = [await BenchTab.connect(url.replace("ROOM", str(number))) for number in range(streams)]
        return [(tab, tab) for tab in tabs]

    return open_tabs


def product(people: list[Person], asked: Server, read: Server | None = None) -> Open:
    """Tabs of the product. Where another process is read at, whoever asked looks away: what is asked here is said there."""

    async def open_tabs(streams: int) -> list[tuple[BenchTab, BenchTab]]:
        pairs = []
        for person in people[:streams]:
            reader = await BenchTab.open(read or asked, person)
            asker = reader if read is None else await BenchTab.open(asked, person)
            pairs.append((asker, reader))
        return pairs

    return open_tabs


def contenders(world: World) -> list[Contender]:
    floor = world.program("floor", world.upstream.port)
    found = [Contender("floor", [floor], bare(floor))]
    if world.topology == "sqlite":
        tutorial = world.program("tutorial", world.upstream.port)
        found.append(Contender("tutorial", [tutorial], bare(tutorial, "/ws/ROOM/")))
        for kind in ("uvicorn", "daphne"):
            server = world.web(kind)
            found.append(Contender(f"{kind}, SQLite", [server], product(world.people(STREAMS), server)))
        return found
    one, other = world.web(), world.web()
    alone = product(world.people(STREAMS), one)
    found.append(Contender("uvicorn, PostgreSQL + Redis, read where it runs", [one, other], alone))
    apart = product(world.people(STREAMS), one, other)
    found.append(Contender("uvicorn, PostgreSQL + Redis, read on the other process", [one, other], apart))
    return found


async def run(world: World, rounds: int = ROUNDS) -> Figures:
    everybody = contenders(world)
    services = [server for server in (world.services.postgres, world.services.redis) if server is not None]
    for number in range(rounds + 1):
        for contender in everybody:
            await contender.round(STREAMS, services)
            if number == 0:
                forget(contender)  # caches are cold, connections are made
            await asyncio.sleep(0.5)
        world.progress(number / rounds)
    floor = everybody[0]
    return {contender.name: figures_of(contender, floor) for contender in everybody}


def forget(contender: Contender) -> None:
    for found in (contender.costs, contender.services, contender.delays, contender.firsts, contender.memory):
        found.clear()
    contender.heard.clear()


def figures_of(contender: Contender, floor: Contender) -> dict[str, float]:
    ratios = [cost / least for cost, least in zip(contender.costs, floor.costs, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratio_worst": max(ratios),
        "microseconds": statistics.median(contender.costs),
        "services_microseconds": statistics.median(contender.services),
        "delay_p50": percentile(contender.delays, 0.5),
        "delay_p99": percentile(contender.delays, 0.99),
        "first_p50": percentile(contender.firsts, 0.5),
        "first_p99": percentile(contender.firsts, 0.99),
        "bytes_per_character": contender.overhead,
        "kib_per_stream": statistics.median(contender.memory),
        "wrong": contender.wrong,
    }


if __name__ == "__main__":
    Case("relay", run).main()
