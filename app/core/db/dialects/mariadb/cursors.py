"""Cursors of PyMySQL that count their statements, and that return rows where the server cannot."""

import time
from contextlib import suppress
from itertools import chain
from typing import Any

import pymysql
from pymysql.cursors import Cursor as PlainCursor

from app.core.db.dialects.mariadb.returning import RETURNING, InsertReturning, Returning, statements_of
from app.core.db.measurement import count


class Cursor(PlainCursor):
    """PyMySQL's cursor; all rows have arrived when `execute` returns, but those of a StreamingCursor."""

    _is_many = False
    """Whether `executemany` calls `execute`, for an INSERT with bytes that have the values of many rows in them."""

    def execute(self, query: Any, args: Any = None) -> int:
        if self._is_many:
            rows: int = super().execute(query, args)
            return rows
        if RETURNING in query:
            return self._returning(query, tuple(args or ()))
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

    def _returning(self, query: str, args: tuple[Any, ...]) -> int:
        """What the server has no RETURNING for, as several statements."""
        parts = statements_of(query)
        if isinstance(parts, InsertReturning):
            return self._insert_returning(parts, args)
        self._counted(parts.locking, args[parts.values : parts.end])
        keys: Any = self._rows
        described = self.description
        changing = f"{parts.changing} {parts.chosen(keys)}"
        if parts.is_deletion:
            self._read(parts, keys, described, args[parts.end :])
            returned, described = self._rows, self.description
            if keys:
                self._counted(changing, tuple(chain.from_iterable(keys)))
            self._give(returned, described)
        else:
            if keys:
                self._counted(changing, args[: parts.values] + tuple(chain.from_iterable(keys)))
            self._read(parts, keys, described, args[parts.end :])
        return self.rowcount

    def _insert_returning(self, parts: InsertReturning, args: tuple[Any, ...]) -> int:
        """Insert a row, and read it by its key: the one that the statement gives, or that the server has numbered."""
        self._counted(parts.insert, args[: parts.end])
        places = parts.key_parameters
        key = (self.lastrowid,) if places is None else tuple(args[place] for place in places)
        keys = (key,) if self.rowcount else ()
        self._read(parts, keys, parts.described, args[parts.end :])
        return self.rowcount

    def _read(self, parts: Returning | InsertReturning, keys: Any, described: Any, args: tuple[Any, ...]) -> None:
        """Read what a statement returns of the rows of these keys."""
        if parts.reading is None:
            self._give(keys, described)
        elif keys:
            self._counted(f"{parts.reading} {parts.chosen(keys)}", args + tuple(chain.from_iterable(keys)))
        else:
            # Says only which columns there are.
            self._counted(f"{parts.reading.rpartition(' WHERE ')[0]} WHERE 1 = 0", args)
        self.rowcount = len(keys)

    def _give(self, rows: Any, described: Any) -> None:
        """Have these rows be what the statement has returned."""
        self._rows, self.description, self.rownumber, self.rowcount = rows, described, 0, len(rows)


def plan(connection: Any, query: str, parameters: Any) -> str | None:
    """The steps of a query's plan with their tables and indexes."""
    with suppress(pymysql.Error), PlainCursor(connection) as cursor:
        cursor.execute(f"EXPLAIN {query}", parameters)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return "; ".join(" ".join(str(row[name]) for name in ("type", "table", "key") if row.get(name)) for row in rows)
    return None
