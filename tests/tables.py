"""Tables that are empty again after a test that commits.

Django's own way truncates all of them, the empty ones too, and then makes content types and permissions anew: most of what such
a test takes on PostgreSQL.
"""

from __future__ import annotations

from functools import cache

from django.db import connection, transaction

#: Filled by `migrate`, and changed by nothing else.
KEPT = {"django_content_type", "auth_permission"}


@cache
def tables() -> list[str]:
    found = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return [connection.ops.quote_name(name) for name in found if name not in KEPT]


def empty_tables() -> None:
    """Like a TRUNCATE it waits for whoever still writes, a server that is just being killed for one."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"LOCK TABLE {', '.join(tables())}")
            # No trigger has to look whether a row that goes is still wanted: all go.
            cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in tables()))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {name}")
