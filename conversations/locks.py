"""One at a time."""

from typing import Any

from django.db import connection, models


def lock(rows: models.QuerySet[Any]) -> None:
    """Let nobody else change these rows until the commit. SQLite lets one transaction write at a time, from its
    beginning on, and needs no more."""
    if connection.features.has_select_for_update:
        # Rows that refer to them may still be written: whoever does so waits for nothing.
        list(rows.select_for_update(of=("self",), no_key=True).values_list("pk"))
