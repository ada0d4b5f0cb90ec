"""Threads for database work that no request waits for.

Django runs the ORM of all requests on one thread, so a slow query there would hold up
every reply. What replies and readers need from the database is done here instead.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ParamSpec, TypeVar

from django.db import connection, connections

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads:
    """A small pool of threads. On SQLite each keeps its connection, which costs more to
    open than most work does; PostgreSQL's go back to Django's pool after the work. One
    that work has failed on is thrown away: the database may have been restarted."""

    def __init__(self, name: str, size: int) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` on one of the threads and return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self._do(work, *args, **kwargs))

    def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except Exception:
            connection.close()
            raise
        finally:
            if connection.vendor != "sqlite":
                connection.close()

    def close(self) -> None:
        """Close the connections and end the threads, once their work is done."""
        # All wait for each other: else a quick thread would do this for a slow one too,
        # whose connection stayed open.
        all_here = Barrier(self._size)

        def leave() -> None:
            connections.close_all()
            all_here.wait()

        for _ in range(self._size):
            self._pool.submit(leave)
        self._pool.shutdown(wait=True)
