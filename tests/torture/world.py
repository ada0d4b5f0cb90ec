"""The world of one run: services, server processes, people, and the upstream that they are all after."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.installation import Services
from tests.processes import Kind, ServerProcess
from tests.scripts import Script
from tests.torture import plan
from tests.torture.records import Exit, Inside
from tests.upstream import Request, Upstream

#: A key that must be nowhere but in the Authorization header.
KEY = "sk-torture-4f1c9e7ab2d84c0f9a55"

#: Clocks that run at the pace of a run, and limits that a crowd from one address does not meet. The lease is the real one.
SETTINGS = {
    "first_token_seconds": 3.0,
    "silence_seconds": 3.0,
    "retry_seconds": 0.2,
    "retry_max_seconds": 3.0,
    "drain_seconds": 2.0,
    "running_per_user": 1000,
    "sockets_per_user": 1000,
    "frames_per_minute": 100_000,
    "models": "small,large",
    "titles": False,  # each POST of a torture is one of a reply
}

INSIDE_SECONDS = 15.0
#: uvicorn raises the signal once more when it is done.
ENDED_WELL = (0, -15)


class TorturedServer(ServerProcess):
    """A server process with an eye inside, which can be frozen, and is never asked two things at once."""

    def __init__(self, name: str, kind: Kind, env: dict[str, str]) -> None:
        super().__init__(kind, env)
        self.name = name
        self.busy = asyncio.Lock()
        self.env |= {"TORTURE_INSIDE": str(self.folder / "inside"), "TORTURE_FREEZE": str(self.folder / "freeze")}
        # A crash in a library without Python tells where it was.
        self.env["PYTHONFAULTHANDLER"] = "1"

    def command(self) -> list[str]:
        if self.kind == "worker":
            return super().command()
        *words, _ = super().command()
        more = ["--timeout-graceful-shutdown", "5"] if self.kind == "uvicorn" else []
        return [*words, *more, "tests.torture.inside:application"]

    def freeze(self, seconds: float) -> None:
        (self.folder / "freeze").write_text(str(seconds))
        self.signal_itself(signal.SIGUSR2)

    def signal_itself(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def look_inside(self) -> dict[str, Any]:
        path = self.folder / "inside"
        path.unlink(missing_ok=True)
        self.signal_itself(signal.SIGUSR1)
        async with asyncio.timeout(INSIDE_SECONDS):
            while not path.exists():
                await asyncio.sleep(0.02)
        told: dict[str, Any] = json.loads(path.read_text())
        return told

    async def inside(self, upstream_port: int) -> Inside:
        told = await self.look_inside()
        assert self.process is not None
        outside = psutil.Process(self.process.pid)
        with outside.oneshot():
            ours = {self.port, upstream_port}
            ends = [
                {end.port for end in (connection.laddr, connection.raddr) if len(end)}
                for connection in outside.net_connections("tcp")
                if connection.status == psutil.CONN_ESTABLISHED
            ]
            return Inside(
                self.name,
                told["tasks"],
                told["threads"],
                outside.num_fds(),
                sum(bool(ports & ours) for ports in ends),
                told["readers"],
                told["rooms"],
                told["largest_buffer"],
                outside.memory_info().rss,
            )

    async def end(self) -> Exit:
        """Ask it to end, as a service manager does."""
        assert self.process is not None
        began = time.monotonic()
        self.terminate()
        code: int | None = None
        with contextlib.suppress(TimeoutError):
            code = await self.until_gone()
        seconds = time.monotonic() - began
        return Exit(self.name, code, seconds, "" if code in ENDED_WELL else self.log()[-2000:])


@dataclass
class World:
    seed: int
    topology: str
    services: Services
    book: plan.Book
    upstream: Upstream
    servers: list[TorturedServer] = field(default_factory=list)
    #: How often each question was asked for.
    posts: dict[int, int] = field(default_factory=dict)
    #: (request, question, number of its POST)
    asked: list[tuple[Request, int, int]] = field(default_factory=list)

    def answer(self, request: Request) -> Script:
        """What the upstream says: the book tells it, by the mark of the last question and by what is said of it already."""
        ask, said = question_of(request.messages)
        nth = self.posts.get(ask, 0)
        self.posts[ask] = nth + 1
        self.asked.append((request, ask, nth))
        return self.book.script(ask, nth, said)

    async def start(self) -> None:
        self.upstream.always(self.answer)
        env = {f"CHAT_{name.upper()}": str(value) for name, value in SETTINGS.items()}
        env |= {"OPENAI_BASE_URL": self.upstream.base_url, "OPENAI_API_KEY": KEY}
        if "worker" in self.kinds:
            env["CHAT_REPLIES_IN"] = "workers"
        self.servers = [TorturedServer(f"server {number}", kind, env) for number, kind in enumerate(self.kinds, 1)]
        await asyncio.gather(*(server.astart() for server in self.servers))

    @property
    def kinds(self) -> list[Kind]:
        """Every other seed is in another way what an installation may be: daphne, which is `manage.py runserver`, or
        replies in a worker."""
        even = self.seed % 2 == 0
        if self.topology == "sqlite":
            return ["daphne" if even else "uvicorn"]
        return ["uvicorn", "uvicorn", "worker"] if even else ["uvicorn", "uvicorn"]

    @property
    def webs(self) -> list[TorturedServer]:
        return [server for server in self.servers if server.kind != "worker"]

    def keep_logs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for server in self.servers:
            name = f"{self.topology}-{self.seed}-{server.name.replace(' ', '-')}.log"
            shutil.copy(server.folder / "log", folder / name)

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


def question_of(messages: list[dict[str, Any]]) -> tuple[int, int]:
    """The mark of the question that a request is about, and how many characters of its answer are given already."""
    questions = [
        (place, int(mark[1]))
        for place, message in enumerate(messages)
        if message["role"] == "user" and (mark := plan.MARK.match(message["content"]))
    ]
    place, ask = questions[-1]
    said = sum(len(message["content"]) for message in messages[place + 1 :] if message["role"] == "assistant")
    return ask, said
