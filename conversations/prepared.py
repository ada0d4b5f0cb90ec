"""Statements that Django puts into words once, and that are sent many times.

Most of what a small query costs is the making of its SQL: a question with its reply took 8 ms, of which the database had
less than one. Here a query set is compiled at its first use, with places for the values; afterwards only these are new. For
the few statements that run with every message; everything else is an ordinary query.

Conversions of values and of columns are those of their fields, as in any query.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from django.db import connection, models
from django.db.models import sql
from django.db.models.expressions import Expression

M = TypeVar("M", bound=models.Model)

Values = dict[str, Any]


class Parameter(Expression):
    """Where a value goes that is known only when a statement is sent: `Parameter("pk", Message._meta.pk)`."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name
        self.of = field

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        has_own = hasattr(self.of, "get_placeholder")
        return self.of.get_placeholder(None, compiler, connection) if has_own else "%s", [self]

    def bound(self, value: Any) -> Any:
        """Return what is sent for a value."""
        return self.of.get_db_prep_save(value, connection)


class Parameters(Parameter):
    """Where a list of values goes, however many they are: `pk__in=Parameters(…)`. To the database it is one value."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if connection.vendor == "postgresql":
            return f"SELECT UNNEST(%s::{self.of.db_type(connection)}[])", [self]
        return "SELECT value FROM json_each(%s)", [self]

    def bound(self, value: Any) -> Any:
        values = [self.of.get_db_prep_value(each, connection) for each in value]
        return values if connection.vendor == "postgresql" else json.dumps(values)


def parameter(model: type[models.Model], field: str, name: str = "") -> Parameter:
    """Return the place of a value as a field of a model holds it."""
    return Parameter(name or field, model._meta.get_field(field))


def parameters(model: type[models.Model], field: str, name: str) -> Parameters:
    """Return the place of a list of such values."""
    return Parameters(name, model._meta.get_field(field))


@dataclass(frozen=True)
class Statement:
    words: str
    values: Sequence[Any]
    #: By place of a column, what makes a value of Python of it.
    converters: dict[int, Any]

    def send(self, cursor: Any, given: Values) -> None:
        cursor.execute(self.words, [_bound(value, given) for value in self.values])

    def converted(self, row: Sequence[Any]) -> tuple[Any, ...]:
        found = list(row)
        for place, (functions, expression) in self.converters.items():
            for function in functions:
                found[place] = function(found[place], expression, connection)
        return tuple(found)


def _bound(value: Any, given: Values) -> Any:
    return value.bound(given[value.name]) if isinstance(value, Parameter) else value


class Select:
    """A query whose rows are read again and again; `build` returns it."""

    def __init__(self, build: Callable[[], models.QuerySet[Any, Any]]) -> None:
        self._statement = cache(lambda vendor: _select(build()))

    def rows(self, **given: Any) -> list[tuple[Any, ...]]:
        statement = self._statement(connection.vendor)
        with connection.cursor() as cursor:
            statement.send(cursor, given)
            rows = cursor.fetchall()
        return [statement.converted(row) for row in rows] if statement.converters else rows

    def instances(self, model: type[M], **given: Any) -> list[M]:
        """Return the rows as objects of `model`, for a query that names no columns."""
        names = [field.attname for field in model._meta.concrete_fields]
        return [model.from_db(connection.alias, names, row) for row in self.rows(**given)]


class Update:
    """An UPDATE of the rows that `build` finds, of these columns."""

    def __init__(self, build: Callable[[], models.QuerySet[Any]], **columns: Any) -> None:
        self._statement = cache(lambda vendor: _update(build(), columns))

    def run(self, **given: Any) -> int:
        """Return how many rows were changed."""
        with connection.cursor() as cursor:
            self._statement(connection.vendor).send(cursor, given)
            return int(cursor.rowcount)


def insert(row: models.Model) -> None:
    """Do what `row.save(force_insert=True)` does, but for its signals, for a row without parents."""
    fields, statement = _insert(type(row), connection.vendor)
    given = {field.name: field.pre_save(row, add=True) for field in fields}
    with connection.cursor() as cursor:
        statement.send(cursor, given)
        [pk] = cursor.fetchone()
    row.pk = pk
    row._state.adding, row._state.db = False, connection.alias


def _select(rows: models.QuerySet[Any, Any]) -> Statement:
    compiler = rows.query.get_compiler(connection=connection)
    words, values = compiler.as_sql()
    columns = [each[0] for each in compiler.select[: compiler.col_count]]
    return Statement(words, values, compiler.get_converters(columns))


def _update(rows: models.QuerySet[Any], columns: Values) -> Statement:
    query: Any = rows.query.chain(sql.UpdateQuery)
    query.add_update_values(columns)
    words, values = query.get_compiler(connection=connection).as_sql()
    return Statement(words, values, {})


@cache
def _insert(model: type[models.Model], vendor: str) -> tuple[list[Any], Statement]:
    has_number = isinstance(model._meta.pk, models.AutoField)
    fields = [field for field in model._meta.local_concrete_fields if not (has_number and field.primary_key)]
    blank = model(**{field.attname: Parameter(field.name, field) for field in fields})
    query = sql.InsertQuery(model)
    query.insert_values(fields, [blank], raw=True)
    compiler = query.get_compiler(connection=connection)
    compiler.returning_fields = [model._meta.pk]
    [(words, values)] = compiler.as_sql()
    return fields, Statement(words, values, {})
