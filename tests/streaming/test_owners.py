"""Whether the process that bears a name still lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from streaming.owners import is_dead, name_of


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_who_lives_is_not_dead(child: subprocess.Popen[bytes]) -> None:
    assert not is_dead(name_of(os.getpid()))
    assert not is_dead(name_of(child.pid))


def test_who_was_killed_is_dead_before_and_after_somebody_noticed(child: subprocess.Popen[bytes]) -> None:
    name = name_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(name)
    child.wait()
    assert is_dead(name)


def test_a_clock_that_is_set_kills_nobody(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    name = name_of(child.pid)
    told = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + 1)
    assert not is_dead(name)


def test_another_process_of_the_same_number_is_another(child: subprocess.Popen[bytes]) -> None:
    assert is_dead(f"{name_of(child.pid)}1")


@pytest.mark.parametrize("namespace", ["another", "another/", "0"])
def test_of_another_machine_or_container_nothing_is_known(namespace: str) -> None:
    assert not is_dead(f"{socket.gethostname()}/{namespace}/1/1")
    assert not is_dead(name_of(os.getpid()).replace(socket.gethostname(), "elsewhere", 1))


@pytest.mark.parametrize("name", ["", "here", "there", "a/b", "a/b/c/d"])
def test_what_is_no_name_is_not_judged(name: str) -> None:
    assert not is_dead(name)
