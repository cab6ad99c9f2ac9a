"""A question to a store in SQL: read only, and of nothing but the store."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.fleet.packages import duckdb
from any2seg_core.fleet.store import FleetStore


@dataclass(frozen=True)
class Answer:
    """Rows of an answer, one value per column."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def records(self) -> list[dict[str, Any]]:
        """For JSON: a mapping per row, times as text, NaN and infinities as null."""
        return [{name: plain_value(value) for name, value in zip(self.columns, row, strict=True)} for row in self.rows]


def ask(store: FleetStore, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Answer:
    """Answer one SELECT over the views recordings, topics and frames.

    Args:
        sql: DuckDB's SQL. values: of its ``?`` or ``$name``.

    Raises:
        UserError: anything but one SELECT, SQL that DuckDB refuses, or a file that is not of the store.
    """
    connection = store.connection()
    try:
        _require_select(connection, sql)
        with understood():
            cursor = connection.execute(sql, values or None)
            return Answer(_distinct(column[0] for column in cursor.description), cursor.fetchall())
    finally:
        connection.close()


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names of columns; one that was there before gets a number, as a record has each name once."""
    found: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}_{number}" for number in count(1))
        found[name if name not in found else next(each for each in numbered if each not in found)] = None
    return tuple(found)


def _require_select(connection: Any, sql: str) -> None:
    with understood():
        statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb().StatementType.SELECT:
        told = f"is {len(statements)} statements" if len(statements) != 1 else "does not begin with SELECT"
        raise UserError(f"the question {told}; ask with one SELECT, the store is only read", "query-refused")


@contextmanager
def understood() -> Iterator[None]:
    """What DuckDB refuses is a UserError of one line."""
    try:
        yield
    except duckdb().Error as error:
        told = " ".join(str(error).split("\n\n")[0].split())[:300]
        raise UserError(
            f"the question cannot be answered ({told}); the views are recordings, topics and frames", "query-refused"
        ) from None


def plain_value(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each) for each in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def chosen_evaluation(store: FleetStore, name: str = "") -> str:
    """The evaluation that is meant: by its name, else the only one; UserError where there is none, or several."""
    known = list(store.evaluations())
    if name in known:
        return name
    if not known:
        raise UserError(f"{store.path}: holds no evaluation; make one with any2seg fleet evaluate", "data-missing")
    if name or len(known) > 1:
        told = f"no evaluation {name!r}; there is" if name else f"{len(known)} evaluations; choose with --evaluation:"
        raise UserError(f"{store.path}: {told} {', '.join(known)}", "value-unknown")
    return known[0]


def fields_of(store: FleetStore, column: str) -> list[str]:
    """Names of the fields of a struct column of frames: subsets of agreement, sensors of reliability."""
    connection = store.connection()
    try:
        (kind,) = connection.sql(f"SELECT {column} FROM frames").types
        return [name for name, _ in kind.children]
    finally:
        connection.close()
