"""Starts servers as forks of one process that has all libraries imported (`tests/template.py`): the same program, sooner."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from tests.services import dying_with_us

ROOT = Path(__file__).resolve().parent.parent
#: Not needed by a server, or with open files and threads as soon as they are imported. Ours are imported by each fork.
LEFT_OUT = frozenset(
    [
        "__main__",
        "_pytest",
        "autobahn",
        "benchmarks",
        "chatproject",
        "conversations",
        "daphne",
        "django_stubs_ext",
        "execnet",
        "hypothesis",
        "mypy",
        "playwright",
        "pluggy",
        "psutil",
        "py",
        "pytest",
        "pytest_asyncio",
        "pytest_django",
        "pytest_timeout",
        "streaming",
        "tests",
        "twisted",
        "xdist",
    ]
)


class Fork:
    """As much of `subprocess.Popen` as a `Server` needs."""

    def __init__(self, template: Template, pid: int) -> None:
        self.template = template
        self.pid = pid
        self.returncode: int | None = None
        self.handle = os.pidfd_open(pid)
        self.lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        with self.lock:
            if self.returncode is None:
                if not select.select([self.handle], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
                self.returncode = self.template.ask(wait_for=self.pid)
                os.close(self.handle)
            return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Template:
    def __init__(self) -> None:
        here, there = socket.socketpair()
        command = [*dying_with_us(signal.SIGKILL), sys.executable, "-m", "tests.template", str(there.fileno())]
        with there:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[there.fileno()])
        self.connection = here
        self.answers = here.makefile("rb")
        self.lock = threading.Lock()
        names = [name for name in sys.modules if name.partition(".")[0] not in LEFT_OUT]
        self.connection.sendall(json.dumps(names).encode() + b"\n")
        threads = int(self.answers.readline())
        # A fork has one thread only, and what another has locked stays so for ever.
        assert threads == 1, f"{threads} threads in the template"
        atexit.register(self.close)

    def ask(self, **question: object) -> int:
        with self.lock:
            self.connection.sendall(json.dumps(question).encode() + b"\n")
            return int(self.answers.readline())

    def start(
        self, words: list[str], env: dict[str, str], directory: Path, log: Path, stop_signal: signal.Signals
    ) -> Fork:
        """Starts a program of Python: its words without that of Python itself."""
        pid = self.ask(words=words, env=env, directory=str(directory), log=str(log), stop_signal=int(stop_signal))
        return Fork(self, pid)

    def close(self) -> None:
        self.answers.close()
        self.connection.close()
        self.process.wait(10)


@cache
def template() -> Template:
    """One for all tests of this process."""
    return Template()
