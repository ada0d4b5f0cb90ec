"""An installation of its own, for programs that are no tests: torture and the benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from tests.services import PostgresServer, RedisServer, forget_the_developer, safe_environment

#: One process on SQLite; several on PostgreSQL and Redis.
TOPOLOGIES = ("sqlite", "services")

DATABASE = "installation"


class LastingPostgres(PostgresServer):
    """As an administrator leaves it: what is committed survives `kill -9`. The tests' own may lose the last moments."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "synchronous_commit=on", "-c", "autovacuum=on"]

    def signal(self, number: signal.Signals) -> None:
        """To each of its processes: they have sessions of their own, so that no signal to a group reaches them."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self.process.pid)
            for process in (postmaster, *postmaster.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


class DurablePostgres(LastingPostgres):
    """With all that it does by itself for a power cut: what a commit costs is part of a benchmark."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "fsync=on", "-c", "full_page_writes=on"]


@dataclass
class Services:
    postgres: LastingPostgres | None = None
    redis: RedisServer | None = None


@contextlib.contextmanager
def services(topology: str, kind: type[LastingPostgres] = LastingPostgres) -> Iterator[Services]:
    """The environment of an installation and the services behind it. To be entered before Django reads its settings."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-installation-")))
        forget_the_developer()
        os.environ.update(safe_environment(folder))
        (folder / "config.yaml").touch()
        if topology == "sqlite":
            yield Services()
            return
        postgres, redis = kind(), RedisServer()
        for server in (postgres, redis):
            stack.callback(server.remove)
            server.start()
        with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as session:
            session.execute(f"CREATE DATABASE {DATABASE}".encode())
        os.environ["DATABASE_URL"] = postgres.database_url(DATABASE)
        os.environ["REDIS_URL"] = redis.url
        yield Services(postgres, redis)
