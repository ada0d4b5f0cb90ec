"""The name under which Django looks for a backend: `ENGINE = "chatproject.postgresql"`."""

from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from .pool import Pool


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, which names the class of its pool in the middle of a method."""

    _connection_pools: dict[str, Pool] = {}
    _configure_connection: Callable[[Any], None]

    @property
    def pool(self) -> Pool | None:
        """The pool of this database, made when it is first needed."""
        options: dict[str, Any] | None = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            made = Pool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                **options,
            )
            # Of those that several threads make at once the first is kept; none of them was opened.
            self._connection_pools.setdefault(self.alias, made)
        return self._connection_pools[self.alias]
