"""How the database reads what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

#: PostgreSQL tells of a small table what it would do with a large one.
AS_IF_LARGE = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"


def way_of_statement(sql: str, values: Sequence[Any] = ()) -> str:
    """Return the plan for a statement, in the words of the database. Belongs into a transaction."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(AS_IF_LARGE)
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{sql}", values or None)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())
