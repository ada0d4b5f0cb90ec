"""Connections that are kept, and made anew without a rest when the database was away."""

from __future__ import annotations

from time import monotonic
from typing import Any

from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool, PoolTimeout

#: Whoever waits for a connection asks again after so many seconds: asking makes the pool try to connect.
ASK_AGAIN = 0.5


class Pool(ConnectionPool[Connection[Any]]):
    """A pool in which broken connections cost nothing but their number.

    After a restart of the database all that were kept are broken. The pool's own check of a connection rests for one
    second behind the second broken one, for two behind the third, and whoever waits for a new one waits out the pauses
    between its attempts, which double: people would wait for seconds, and a reply could not be stopped, while the
    database has long been back.
    """

    def getconn(self, timeout: float | None = None) -> Connection[Any]:
        """Return a connection that works. Raises PoolTimeout where there is none within `timeout` seconds."""
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            try:
                connection = super().getconn(min(ASK_AGAIN, max(deadline - monotonic(), 0)))
            except PoolTimeout:
                if monotonic() >= deadline:
                    raise
                continue
            if _works(connection):
                return connection
            # The pool throws it away, and makes another.
            self.putconn(connection)


def _works(connection: Connection[Any]) -> bool:
    try:
        ConnectionPool.check_connection(connection)
    except OperationalError:
        return False
    return True
