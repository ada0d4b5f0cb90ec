"""What slow readers cost, and what the others notice of them: `python -m benchmarks.slow_readers`.

A reply of 2 MB is told to three tabs. Twenty other sockets are open: in one round they look at another conversation
(idle), in one they read the same reply as a browser does (quick), and in one at 1 KB/s, on a line with next to no buffer
and without acknowledging anything (slow). Rounds alternate, so that what else the machine does falls on all. Printed are
the delays of the three, from the upstream's word to theirs, the resident memory of the server, and what waited in the
kernel for one reader. `--buffer-bytes 100000000` shows what it would be without a bound. It starts everything it needs and
leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import django
import psutil

from tests.processes import ServerProcess
from tests.services import forget_the_developer, safe_environment

Kind = Literal["uvicorn", "daphne"]
MEASURED = 3
RATE = 1000.0
#: 2 MB in deltas of a kilobyte.
DELTAS, DELTA = 2000, 1000
PACE = 0.005
SHARES = (0.5, 0.95, 0.99)
#: What only the first rounds pay.
WARM = 2


@dataclass
class Round:
    """Of one sort: delays in seconds, resident memory in bytes, and what every reader of ours has cost at the most."""

    delays: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    on_the_way: list[int] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.delays)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class Bench:
    def __init__(self, kind: Kind, others: int, buffer_bytes: int) -> None:
        from tests.upstream import Upstream

        self.kind = kind
        self.others = others
        self.upstream = Upstream()
        self.buffer_bytes = buffer_bytes
        self.rounds = {"idle": Round(), "quick": Round(), "slow": Round()}

    async def run(self, rounds: int) -> None:
        async with self.upstream:
            self.server = ServerProcess(self.kind, self.environment())
            try:
                await self.server.astart()
                await self.prepare()
                for _ in range(WARM):
                    await self.round("idle", Round())
                for _ in range(rounds):
                    for sort, into in self.rounds.items():
                        await self.round(sort, into)
            finally:
                self.server.remove()

    def environment(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.upstream.base_url,
            "OPENAI_API_KEY": "sk-nobody",
            "CHAT_MODELS": "small",
            "CHAT_BUFFER_BYTES": str(self.buffer_bytes),
            "CHAT_SOCKETS_PER_USER": "1000",
            "CHAT_FRAMES_PER_MINUTE": "100000",
            "MALLOC_ARENA_MAX": "2",
            "MALLOC_TRIM_THRESHOLD_": "131072",
        }

    async def prepare(self) -> None:
        from channels.db import database_sync_to_async
        from django.conf import settings
        from django.contrib.auth import get_user_model

        from tests.conftest import session_of

        self.user = await database_sync_to_async(get_user_model().objects.create_user)(f"reader-{self.kind}")
        self.cookie = f"{settings.SESSION_COOKIE_NAME}={await database_sync_to_async(session_of)(self.user)}"

    async def round(self, sort: str, into: Round) -> None:
        from channels.db import database_sync_to_async

        from conversations.models import Conversation
        from tests.scripts import Script
        from tests.slow_reader import SlowTab
        from tests.tab import Tab

        here, elsewhere = [await database_sync_to_async(Conversation.start)(self.user) for _ in range(2)]
        url = f"{self.server.url.replace('http', 'ws', 1)}/ws/conversations/"
        options: dict[str, Any] = {"cookie": self.cookie, "origin": self.server.url}
        measured = [Tab(f"{url}{here.pk}/", **options) for _ in range(MEASURED)]
        others: list[Tab] = []
        for _ in range(self.others):
            if sort == "slow":
                others.append(await SlowTab(f"{url}{here.pk}/", rate=RATE, acks=False, **options).open_slowly())
            else:
                pk = elsewhere.pk if sort == "idle" else here.pk
                others.append(await Tab(f"{url}{pk}/", **options).open())
        await asyncio.gather(*(tab.open() for tab in measured))
        await asyncio.gather(*(tab.wait_for("conversation_snapshot") for tab in measured))
        self.upstream.answer(Script([f"{n:05d}".ljust(DELTA, "x") for n in range(DELTAS)], pace=PACE))
        asked = await measured[0].ask("Write a book")
        ends = [asyncio.create_task(tab.until_ended(asked.reply, 300)) for tab in measured]
        await self.measure(ends, into)
        await asyncio.gather(*ends)
        into.delays += [delay for tab in measured for delay in self.delays(tab, asked.reply)]
        for tab in [*others, *measured]:
            await tab.close()

    async def measure(self, ends: Iterable[asyncio.Task[Any]], into: Round) -> None:
        from tests.slow_reader import on_the_way

        assert self.server.process is not None
        process = psutil.Process(self.server.process.pid)
        resident, waiting = [0], [0]
        while not all(end.done() for end in ends):
            resident.append(process.memory_info().rss)
            waiting += on_the_way(self.server.port)
            await asyncio.sleep(0.1)
        into.resident.append(max(resident))
        into.on_the_way.append(max(waiting))

    def delays(self, tab: Any, reply: str) -> Iterator[float]:
        spoken = self.upstream.posts[-1].spoken
        lengths = [length for length, _ in spoken]
        for event in tab.of_type("reply_delta", reply=reply):
            yield event.at - spoken[bisect_left(lengths, event["end"])][1]


def table(bench: Bench) -> str:
    lines = [f"{bench.kind:>11} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'resident MB':>12} {'kernel KiB':>11}"]
    for name, each in bench.rounds.items():
        times = " ".join(f"{1000 * each.percentile(share):8.1f}" for share in SHARES)
        resident = statistics.median(each.resident)
        lines.append(f"{name:>11} {times} {resident / 1e6:12.1f} {max(each.on_the_way) / 1024:11.0f}")
    slow = bench.rounds["slow"]
    for name in ("idle", "quick"):
        other = bench.rounds[name]
        ratios = " ".join(f"{slow.percentile(share) / other.percentile(share):8.2f}" for share in SHARES)
        cost = (statistics.median(slow.resident) - statistics.median(other.resident)) / bench.others / 1024
        lines.append(f"{'slow/' + name:>11} {ratios} {cost:+6.0f} KiB a reader")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slow_readers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--buffer-bytes", type=int, default=262_144)
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=list(get_args(Kind)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parley-benchmark-") as folder:
        forget_the_developer()
        os.environ.update(safe_environment(Path(folder)))
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/db.sqlite3"
        (Path(folder) / "config.yaml").touch()
        os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
        django.setup()
        logging.disable(logging.WARNING)
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        for kind in options.kinds:
            bench = Bench(kind, options.readers, options.buffer_bytes)
            asyncio.run(bench.run(options.rounds))
            print(table(bench), end="\n\n")


if __name__ == "__main__":
    main()
