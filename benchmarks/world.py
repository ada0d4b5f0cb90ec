"""What a benchmark needs around it: an installation of its own, server processes, people, and the upstream.

Everything runs on 127.0.0.1 and in temporary folders, and is gone afterwards. Uses the parts of the tests that start
real servers. One topology for each process: Django reads its settings once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import django
import psutil

from tests.installation import DurablePostgres, Services, services
from tests.processes import Kind, ServerProcess
from tests.services import Server, dying_with_us

ROOT = Path(__file__).resolve().parent.parent

#: Limits that a crowd of benchmarks would meet, and no person does.
LIMITS = {
    "CHAT_SOCKETS_PER_USER": "100000",
    "CHAT_FRAMES_PER_MINUTE": "1000000",
    "CHAT_RUNNING_PER_USER": "10000",
    # Replies are measured, and each is asked for by one POST.
    "CHAT_TITLES": "false",
}

DEPLOYED = ("--ws-per-message-deflate", "false", "--ws-ping-interval", "60", "--ws-ping-timeout", "60")


class Deployed(ServerProcess):
    """A process of the product, with the options that `tools/serve` gives to uvicorn."""

    def command(self) -> list[str]:
        *words, application = super().command()
        return [*words, *(DEPLOYED if self.kind == "uvicorn" else ()), application]


class Program(Server):
    """One of the programs of the benchmarks: `python -m benchmarks.NAME PORT …`."""

    def __init__(self, name: str, *arguments: object) -> None:
        super().__init__()
        self.words = ["-m", f"benchmarks.{name}", str(self.port), *map(str, arguments)]
        self.directory = ROOT

    def command(self) -> list[str]:
        return [*dying_with_us(self.stop_signal), sys.executable, *self.words]

    def try_once(self) -> None:
        import socket

        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()


@dataclass(frozen=True)
class Person:
    """Somebody signed in, and a conversation that is his."""

    cookie: str
    conversation: str


@dataclass
class World:
    """An installation with nobody in it yet."""

    topology: str
    upstream: Program
    services: Services
    _stack: contextlib.ExitStack
    _people: int = field(default=0)

    def progress(self, share: float) -> None:
        """Say on the screen how much of it is done."""
        if sys.stderr.isatty():
            print(f"\r  {min(share, 1.0):4.0%}", end="", file=sys.stderr, flush=True)

    def program(self, name: str, *arguments: object) -> Program:
        """Start one of the benchmarks' own servers; it ends with the world."""
        return self._stack.enter_context(Program(name, *arguments))

    def web(self, kind: Kind = "uvicorn", program: type[Deployed] = Deployed, **env: str) -> ServerProcess:
        """Start a process of the product as it is, with everything on; it ends with the world."""
        asks = {"OPENAI_BASE_URL": f"http://127.0.0.1:{self.upstream.port}/v1", "OPENAI_API_KEY": "sk-nobody"}
        return self._stack.enter_context(program(kind, {**asks, "CHAT_MODELS": "bench", **LIMITS, **env}))

    def people(self, count: int) -> list[Person]:
        """Return so many people who have never been here, each with an empty conversation."""
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.db import transaction

        from conversations.models import Conversation
        from tests.conftest import session_of

        people = []
        with transaction.atomic():
            for _ in range(count):
                self._people += 1
                user = User.objects.create(username=f"person{self._people}")
                cookie = f"{settings.SESSION_COOKIE_NAME}={session_of(user)}"
                people.append(Person(cookie, str(Conversation.start(user).pk)))
        return people


@contextlib.contextmanager
def world(topology: str) -> Iterator[World]:
    """Set up an installation with an upstream, and take it down again."""
    with services(topology, DurablePostgres) as running, contextlib.ExitStack() as stack:
        os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
        # The databases are asked before and between what is measured, from a program whose loop has nothing else to do.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        django.setup()
        logging.disable(logging.WARNING)
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        upstream = stack.enter_context(Program("upstream"))
        yield World(topology, upstream, running, stack)


def processor_seconds(*servers: Server) -> float:
    """Return what the processes of these servers, with all that they have started, have used of a processor."""
    total = 0.0
    for server in servers:
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                total += times.user + times.system
    return total


def resident_bytes(server: Server) -> int:
    """Return what the memory of a server holds that is no other process's: shared pages do not count twice."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    total = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().uss
    return total
