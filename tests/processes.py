"""The product as a program of its own, on the database of the running test, so that it can be killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Literal

from django.db import connection

from tests.forks import template
from tests.services import Program, Server, dying_with_us

ROOT = Path(__file__).resolve().parent.parent
EXIT_SECONDS = 20.0

Kind = Literal["uvicorn", "daphne", "worker"]


def database_url() -> str:
    """The address of the database in which the running test writes."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return f"postgresql://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


class ServerProcess(Server):
    """A web server, or a worker; `forked` from a process that has imported its libraries already, where that can be done."""

    def __init__(self, kind: Kind = "uvicorn", env: dict[str, str] | None = None, forked: bool = False) -> None:
        super().__init__()
        self.kind = kind
        # Twisted cannot be imported ahead, and what is read when a program starts comes too late for a fork.
        read_at_start = any(name.startswith(("PYTHONPATH", "MALLOC_")) for name in env or {})
        self.forked = forked and kind != "daphne" and not read_at_start
        self.env = {"DATABASE_URL": database_url(), **(env or {})}
        self.directory = ROOT

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self.env}

    def command(self) -> list[str]:
        return [*dying_with_us(self.stop_signal), sys.executable, *self.words()]

    def words(self) -> list[str]:
        """The command, without that of Python."""
        if self.kind == "worker":
            return ["manage.py", "runreplies", "--alive", self.alive]
        application = "chatproject.asgi:application"
        address = {
            "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"],
            "daphne": ["daphne", "-b", "127.0.0.1", "-p", str(self.port), "-v", "0"],
        }[self.kind]
        return ["-m", *address, application]

    def run(self) -> Program:
        if not self.forked:
            return super().run()
        log = self.folder / "log"
        return template().start(self.words(), self.environment(), self.directory, log, self.stop_signal)

    @property
    def alive(self) -> str:
        return str(self.folder / "alive")

    def launch(self) -> None:
        Path(self.alive).unlink(missing_ok=True)
        super().launch()

    def try_once(self) -> None:
        if self.kind == "worker":
            Path(self.alive).stat()
            return
        with urllib.request.urlopen(f"{self.url}/health/", timeout=5):
            pass

    async def until_gone(self, seconds: float = EXIT_SECONDS) -> int:
        """Until the process has ended by itself; its exit code."""
        assert self.process is not None
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"did not end in {seconds} s:\n{self.log()}") from None
