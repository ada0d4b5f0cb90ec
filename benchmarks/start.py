"""From the command to the first page: `python -m benchmarks.start`.

The program is started anew each time, with its files in the cache of the system and Python's compiled modules on the disk,
as on every start but the first of all. Told are: seconds to the first page that a browser is given, what the process holds
in memory then, and how long the imports take by themselves.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from benchmarks.figures import Case, Figures
from benchmarks.world import ROOT, Deployed, World, resident_bytes
from tests.processes import ServerProcess

ROUNDS = 5
IMPORTS = "import chatproject.asgi"


async def run(world: World) -> Figures:
    figures: Figures = {}
    ways: dict[str, Callable[[], ServerProcess]] = {
        "runserver": RunServer,
        "uvicorn": lambda: Deployed("uvicorn"),
        "daphne": lambda: Deployed("daphne"),
    }
    for number, (name, make) in enumerate(ways.items()):
        figures[name] = await asyncio.to_thread(starts, make)
        world.progress((number + 1) / 4)
    figures["imports"] = {"seconds": statistics.median(import_seconds() for _ in range(ROUNDS))}
    return figures


class RunServer(ServerProcess):
    """`manage.py runserver`, as `make run` starts it when all is set up."""

    def command(self) -> list[str]:
        words = super().command()
        return [
            *words[: words.index(sys.executable)],
            sys.executable,
            "manage.py",
            "runserver",
            "--noreload",
            str(self.port),
        ]


def starts(make: Callable[[], ServerProcess]) -> dict[str, float]:
    seconds, memory = [], []
    for _ in range(ROUNDS + 1):
        server = make()
        began = time.monotonic()
        server.launch()
        until_page(server)
        seconds.append(time.monotonic() - began)
        # What is loaded behind the first page belongs to it, too.
        time.sleep(4)
        memory.append(resident_bytes(server) / 1024 / 1024)
        server.remove()
    # The first one found nothing in the caches.
    return {"seconds": statistics.median(seconds[1:]), "mib": statistics.median(memory[1:])}


def until_page(server: ServerProcess) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/accounts/login/", timeout=5) as page:
                assert b"<form" in page.read()
                return
        except (urllib.error.URLError, ConnectionError):
            assert server.process is not None
            assert server.process.poll() is None, server.log()
            assert time.monotonic() < server.deadline, server.log()
            time.sleep(0.005)


def import_seconds() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    Case("start", run).main()
