"""`manage.py runreplies`: a process that runs replies and serves nobody, so that the web may be restarted under load."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from streaming import duty, process
from streaming.models import Run
from streaming.shutdown import SIGNALS, Shutdown


class Command(BaseCommand):
    help = (
        "Run replies apart from the web (repliesIn: workers), until SIGTERM; those that stream then get drainSeconds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--alive", type=Path, metavar="FILE", help="touch this file after each look at the database"
        )

    def handle(self, *args: Any, alive: Path | None, **options: Any) -> None:
        """Run until asked to end. A database that is not there at the start is no start."""
        try:
            Run.objects.exists()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {str(error).strip()}") from None
        asyncio.run(self.run_replies(alive))

    async def run_replies(self, alive: Path | None) -> None:
        here = process.start(duty=duty.WORKER)
        if alive is not None:
            here.runner.on_look = alive.touch
        ended = asyncio.Event()
        shutdown = Shutdown(lambda number: ended.set())
        for number in SIGNALS:
            signal.signal(number, shutdown.receive)
        self.say(f"Replies are run here: {here.name}")
        await ended.wait()
        self.say("All replies of this process have ended or were given back.")

    def say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()
