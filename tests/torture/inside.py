"""The product, with an eye inside: `uvicorn tests.torture.inside:application`.

Two signals that no server has use for. SIGUSR1: write down what there is (tasks, threads, buffers) as JSON into the file
named by TORTURE_INSIDE. SIGUSR2: hold the event loop for as many seconds as stand in the file named by TORTURE_FREEZE.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from chatproject.asgi import application as product
from streaming import process

SAMPLE_SECONDS = 0.05


class Inside:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.largest_buffer = 0
        self.sampling = asyncio.create_task(self.sample(), name="inside")
        signal.signal(signal.SIGUSR1, lambda *_: self.tell())
        signal.signal(signal.SIGUSR2, lambda *_: time.sleep(float(Path(os.environ["TORTURE_FREEZE"]).read_text())))

    async def sample(self) -> None:
        """What readers have cost at the most. Looked at from outside it would be the noise of an allocator."""
        while True:
            if here := process.current():
                buffers = [reader.size for reader in here.hub._all_readers()]
                self.largest_buffer = max([self.largest_buffer, *buffers])
            await asyncio.sleep(SAMPLE_SECONDS)

    def tell(self) -> None:
        gc.collect()
        here = process.current()
        told = {
            "tasks": sorted(task.get_name() for task in asyncio.all_tasks(self.loop) if task is not self.sampling),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "readers": len(here.hub._all_readers()) if here else 0,
            "rooms": len(here.hub._rooms) if here else 0,
            "replies": len(here.runner._tasks) if here else 0,
            "largest_buffer": self.largest_buffer,
        }
        path = Path(os.environ["TORTURE_INSIDE"])
        path.with_suffix(".new").write_text(json.dumps(told))
        path.with_suffix(".new").rename(path)


_inside: Inside | None = None


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global _inside
    if _inside is None:
        _inside = Inside()
    await product(scope, receive, send)
