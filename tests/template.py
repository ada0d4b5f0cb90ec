"""A process with all libraries imported, of which servers for tests are forks: `python -m tests.template <socket>`.

To import them takes a second and a half of processor time, of which a fork needs none. The product itself is imported by the
fork, with its own environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1


def import_all(names: list[str]) -> None:
    for name in names:
        # Some need Django's settings, which are the fork's own; it imports them then.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    # So that no fork's collector touches, and thereby copies, what all of them share.
    gc.freeze()


def serve(questions: BinaryIO, answers: BinaryIO) -> dict[str, Any]:
    """Answers until the other side is gone; returns in each fork, with what that has to do."""
    for line in questions:
        asked: dict[str, Any] = json.loads(line)
        if "wait_for" in asked:
            _, status = os.waitpid(asked["wait_for"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if not answer:
                questions.close()
                answers.close()
                return asked
        answers.write(b"%d\n" % answer)
        answers.flush()
    os._exit(0)


def become(asked: dict[str, Any]) -> None:
    """Is from now on what a program would be that was started like this."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, asked["stop_signal"])
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["directory"])
    sys.path[0] = asked["directory"]


def run(words: list[str]) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    connection = socket.socket(fileno=int(sys.argv[1]))
    questions, answers = connection.makefile("rb"), connection.makefile("wb")
    import_all(json.loads(questions.readline()))
    answers.write(b"%d\n" % len(os.listdir("/proc/self/task")))
    answers.flush()
    asked = serve(questions, answers)
    connection.close()
    become(asked)
    run(asked["words"])


if __name__ == "__main__":
    main()
