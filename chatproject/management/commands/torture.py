"""`manage.py torture`: the proof that nothing is lost, run on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

MISSING = "The torture program comes with the checks and needs their packages: make torture"
BAR = 24


class Command(BaseCommand):
    """Each seed runs in a process of its own, with servers, a database and an upstream of its own: nothing here is touched."""

    help = (
        "Start servers, a misbehaving upstream and dozens of clients, break things at random from a seed, and judge whether "
        "every promise was kept. Uses nothing of this installation but its code."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--topology", default="all", help="sqlite, services (PostgreSQL, Redis, two processes) or all"
        )
        parser.add_argument("--seed", type=int, default=1, help="the first seed")
        parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other")
        parser.add_argument("--logs", type=Path, help="a folder that the logs of the servers are kept in")
        parser.add_argument("--seconds", type=float, help="how long people talk and things break in each")

    def handle(
        self, *, topology: str, seed: int, seeds: int, seconds: float | None, logs: Path | None, **options: Any
    ) -> None:
        report, topologies, missing = load()
        wanted = list(topologies) if topology == "all" else [topology]
        if not set(wanted) <= set(topologies):
            raise CommandError(f"There is no topology {topology!r}. There are: {', '.join(topologies)}, all.")
        if missing and "services" in wanted:
            self.leave_out_services(missing, needed=topology == "services")
            wanted.remove("services")
        held = True
        for name in wanted:
            outcomes = [self.run_one(name, each, seconds, logs, report) for each in range(seed, seed + seeds)]
            total = report.sum_of(outcomes)
            self.stdout.write(f"\n{report.report(total)}\n")
            held = held and total.holds
        if not held:
            sys.exit(1)

    def leave_out_services(self, missing: str, *, needed: bool) -> None:
        """What cannot be run here is said; where it was asked for by name, or nobody reads it, it is an error."""
        if needed or os.environ.get("CI"):
            raise CommandError(f"PostgreSQL and Redis are needed: {missing}.")
        self.stdout.write(f"Left out: two processes on PostgreSQL and Redis ({missing}).")

    def run_one(self, topology: str, seed: int, seconds: float | None, logs: Path | None, report: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "outcome"
            words = [sys.executable, "-m", "tests.torture", "--seed", str(seed), "--topology", topology]
            words += ["--logs", str(logs.absolute())] if logs else []
            words += ["--outcome", str(path), "--progress", *(["--seconds", str(seconds)] if seconds else [])]
            code = self.follow(words, f"{topology} {seed}")
            if not path.exists():
                raise CommandError(f"Seed {seed} on {topology} did not come to its end (exit status {code}).")
            outcome = report.Outcome.from_json(json.loads(path.read_text()))
        self.line(f"{topology:<9} seed {seed:<4} {'held' if outcome.holds else 'NOT HELD'}", end="\n")
        self.stdout.write("".join(f"{line}\n" for line in report.violations(outcome, most=3)), ending="")
        return outcome

    def follow(self, words: list[str], name: str) -> int:
        """Show how far a run is, until it has ended."""
        with subprocess.Popen(words, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                step = json.loads(line)
                self.line(f"{name:<14} {bar(step['share'])} {step['what']}")
        return running.returncode

    def line(self, words: str, end: str = "") -> None:
        """Over the last line on a terminal; elsewhere only what is final."""
        if self.stdout.isatty():
            self.stdout.write(f"\r\x1b[2K{words[: shutil.get_terminal_size().columns - 1]}", ending=end)
            self.stdout.flush()
        elif end:
            self.stdout.write(words, ending=end)


def load() -> tuple[Any, tuple[str, ...], str]:
    """The parts that live with the tests. An image of the product has no tests."""
    try:
        from tests.installation import TOPOLOGIES
        from tests.services import what_is_missing
        from tests.torture import report
    except ImportError as error:
        raise CommandError(f"{MISSING}\n({error})") from None
    return report, TOPOLOGIES, what_is_missing()


def bar(share: float) -> str:
    done = round(share * BAR)
    return f"[{'#' * done}{'.' * (BAR - done)}] {share:4.0%}"
