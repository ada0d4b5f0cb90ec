"""Threads for database work that no request waits for.

Django runs the ORM of all requests on one thread, so a slow query there would hold up
every reply. What replies and readers need from the database is done here instead.
"""

import asyncio
import contextvars
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import ParamSpec, TypeVar

from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from conversations.refusals import Refused

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: It is asked again after so many seconds.
REST = 0.5
#: Class of PostgreSQL's error codes: more than it can do at all, such as a row that no index takes.
PROGRAM_LIMIT_EXCEEDED = "54"


def is_away(error: Exception) -> bool:
    """Is this what a database says that is away, full, locked, read-only for the moment, or has ended a transaction that
    slept? Another try may do then. Both databases call some things operational that no try will change."""
    if not isinstance(error, OperationalError | InterfaceError | InternalError):
        return False
    cause = error.__cause__
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return False  # a statement that makes no sense
    return not (getattr(cause, "sqlstate", None) or "").startswith(PROGRAM_LIMIT_EXCEEDED)


class DatabaseThreads:
    """A small pool of threads. On SQLite each keeps its connection, which costs more to
    open than most work does; PostgreSQL's go back to Django's pool after the work. One
    that work has failed on is thrown away: the database may have been restarted."""

    def __init__(self, name: str, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name, initializer=self._begin)
        self._connections: list[BaseDatabaseWrapper] = []

    def _begin(self) -> None:
        self._connections.append(connections[DEFAULT_DB_ALIAS])

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` on one of the threads and return what it returns."""
        loop = asyncio.get_running_loop()
        here = contextvars.copy_context()
        return await loop.run_in_executor(self._pool, lambda: here.run(lambda: self._do(work, *args, **kwargs)))

    async def insist(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, as often as it takes while the database is away: for what a reply
        cannot go on without. What is refused for good is raised."""
        while True:
            try:
                return await self.run(work, *args, **kwargs)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("the database is away, a reply waits for it: %s", error)
                await asyncio.sleep(REST)

    def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except Refused:
            raise  # in words, by a sound connection
        except Exception:
            connection.close()
            raise
        finally:
            if connection.vendor != "sqlite":
                connection.close()

    def close(self) -> None:
        """End the threads, once their work is done, and close the connections they kept."""
        self._pool.shutdown(wait=True)
        # Django refuses to touch a connection where a loop runs.
        closing = Thread(target=self._close_connections, name="database closing")
        closing.start()
        closing.join()

    def _close_connections(self) -> None:
        for kept in self._connections:
            # It belonged to a thread that is no more.
            kept.inc_thread_sharing()
            kept.close()
