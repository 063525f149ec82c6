"""Cursors of PyMySQL that count their statements, and that update rows and return them."""

# ruff: noqa: S608 - the statements consist of names of ours

import functools
import re
import time
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import pymysql
from pymysql.cursors import Cursor as PlainCursor

from app.core.db.measurement import count

RETURNING = "/*returned by "
"""Marks an UPDATE that returns rows, which the compiler writes (see compilers.py)."""
_MARKED = re.compile(r" /\*returned by (?P<key>[^*]+)\*/ RETURNING ")


class Returning(NamedTuple):
    """An UPDATE that returns rows, as three statements."""

    locking: str
    """Locks the rows, and reads their keys."""
    update: str
    """Changes the rows whose keys follow."""
    reading: str | None
    """Reads the rows whose keys follow; None where their keys are all that is returned."""
    key_columns: int
    values: int
    """How many parameters come before those of the condition."""
    end: int
    """How many come before those of what is returned."""


class Cursor(PlainCursor):
    """PyMySQL's cursor; all rows have arrived when `execute` returns."""

    _is_many = False
    """Whether `executemany` calls `execute`, for an INSERT with bytes that have the values of many rows in them."""

    def execute(self, query: Any, args: Any = None) -> int:
        if self._is_many:
            rows: int = super().execute(query, args)
            return rows
        if RETURNING in query:
            return self._update_returning(returning_of(query), tuple(args or ()))
        return self._counted(query, args)

    def executemany(self, query: Any, args: Any) -> int | None:
        began = time.perf_counter()
        self._is_many = True
        try:
            rows: int | None = super().executemany(query, args)
            return rows
        finally:
            self._is_many = False
            count(self, query, None, time.perf_counter() - began, plan)

    def _counted(self, query: str, args: Any) -> int:
        began = time.perf_counter()
        try:
            rows: int = super().execute(query, args)
            return rows
        finally:
            count(self, query, args, time.perf_counter() - began, plan)

    def _update_returning(self, parts: Returning, args: tuple[Any, ...]) -> int:
        """MariaDB has no UPDATE that returns rows: lock them, change them, and read them."""
        self._counted(parts.locking, args[parts.values : parts.end])
        keys: Any = self._rows
        described = self.description
        flat = tuple(chain.from_iterable(keys))
        mark = "%s" if parts.key_columns == 1 else f"({', '.join(['%s'] * parts.key_columns)})"
        chosen = f"IN ({', '.join([mark] * len(keys))})"
        if keys:
            self._counted(f"{parts.update} {chosen}", args[: parts.values] + flat)
        if parts.reading is not None and not keys:
            # Says only which columns there are.
            self._counted(f"{parts.reading.rpartition(' WHERE ')[0]} WHERE 1 = 0", args[parts.end :])
        elif parts.reading is not None:
            self._counted(f"{parts.reading} {chosen}", args[parts.end :] + flat)
        else:
            self._rows, self.description, self.rownumber = keys, described, 0
        self.rowcount = len(keys)
        return self.rowcount


@functools.lru_cache(maxsize=256)
def returning_of(query: str) -> Returning:
    """The statements of an UPDATE that returns rows."""
    match = _MARKED.search(query)
    assert match is not None
    changing, returned = query[: match.start()], query[match.end() :]
    at = _end_of_values(changing)
    update, condition = changing[:at], changing[at + len(" WHERE ") :] or "1 = 1"
    table = re.match(r"UPDATE (\S+) ", update)
    assert table is not None
    key = match["key"]
    key_columns = key.count(",") + 1
    chosen = key if key_columns == 1 else f"({key})"
    is_key = re.sub(r" AS \S+", "", returned) == key
    return Returning(
        locking=f"SELECT {key} FROM {table[1]} WHERE {condition} FOR UPDATE",
        update=f"{update} WHERE {chosen}",
        reading=None if is_key else f"SELECT {returned} FROM {table[1]} WHERE {chosen}",
        key_columns=key_columns,
        values=_marks(update),
        end=_marks(changing),
    )


def _end_of_values(query: str) -> int:
    """Where the WHERE of a statement is, and not that of a subquery; its end where it has none."""
    depth = 0
    for match in re.finditer(r"\(|\)|'[^']*'| WHERE ", query):
        if match[0] == " WHERE " and depth == 0:
            return match.start()
        depth += {"(": 1, ")": -1}.get(match[0], 0)
    return len(query)


def _marks(query: str) -> int:
    return query.replace("%%", "").count("%s")


def plan(connection: Any, query: str, parameters: Any) -> str | None:
    """The steps of a query's plan with their tables and indexes."""
    with suppress(pymysql.Error), PlainCursor(connection) as cursor:
        cursor.execute(f"EXPLAIN {query}", parameters)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return "; ".join(" ".join(str(row[name]) for name in ("type", "table", "key") if row.get(name)) for row in rows)
    return None
