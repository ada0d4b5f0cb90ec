"""One at a time."""

from collections.abc import Callable
from typing import Any

from django.db import connection, models

from .prepared import Select


class Lock:
    """A lock on the rows that `build` finds, which has places for values as other prepared statements have."""

    def __init__(self, build: Callable[[], models.QuerySet[Any]]) -> None:
        # Rows that refer to them may still be written: whoever does so waits for nothing.
        self._rows = Select(lambda: build().select_for_update(of=("self",), no_key=True).values_list("pk"))

    def take(self, **given: Any) -> None:
        """Let nobody else change these rows until the commit. SQLite lets one transaction write at a time, from its
        beginning on, and needs no more."""
        if connection.features.has_select_for_update:
            self._rows.rows(**given)
