"""A statement that returns rows as several, for servers without RETURNING: MariaDB for UPDATE, MySQL for all.

Rows are locked and their keys read; they are changed or deleted by their keys; and what is returned is read.
"""

# ruff: noqa: S608 - the statements consist of names of ours

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

RETURNING = "/*returned by "
"""Marks a statement that returns rows, which the compiler writes (see compilers.py)."""
_MARKED = re.compile(r" /\*returned by (?P<key>[^*]+)\*/ RETURNING ")
_INSERT = re.compile(
    r"INSERT (?:IGNORE )?INTO (?P<table>\S+) \((?P<columns>[^)]*)\) VALUES \((?P<values>.*)\)", re.DOTALL
)


class Returning(NamedTuple):
    """An UPDATE or a DELETE that returns rows, as three statements."""

    locking: str
    """Locks the rows, and reads their keys."""
    changing: str
    """Changes the rows whose keys follow, or deletes them."""
    reading: str | None
    """Reads the rows whose keys follow; None where their keys are all that is returned."""
    is_deletion: bool
    key_columns: int
    values: int
    """How many parameters come before those of the condition."""
    end: int
    """How many come before those of what is returned."""

    def chosen(self, keys: Sequence[Any]) -> str:
        """The condition after the name of the key, with a mark for each value of the keys."""
        mark = "%s" if self.key_columns == 1 else f"({', '.join(['%s'] * self.key_columns)})"
        return f"IN ({', '.join([mark] * len(keys))})"


class InsertReturning(NamedTuple):
    """An INSERT of one row that returns it, as two statements."""

    insert: str
    reading: str | None
    """Reads the row whose key follows; None where its key is all that is returned, and a parameter."""
    key: str
    """The value of the key, a mark or what the statement computes."""
    key_parameters: tuple[int, ...] | None
    """The places of the key's parameters; None where the server numbers the row."""
    described: tuple[tuple[Any, ...], ...]
    """The cursor's description of a key."""
    end: int
    """How many parameters come before those of what is returned."""

    def chosen(self, _keys: Sequence[Any]) -> str:
        """The condition after the name of the key."""
        return f"= {self.key}"


@functools.lru_cache(maxsize=256)
def statements_of(query: str) -> Returning | InsertReturning:
    """The statements of one that returns rows."""
    match = _MARKED.search(query)
    assert match is not None
    changing, returned, key = query[: match.start()], query[match.end() :], match["key"]
    is_key = re.sub(r" AS \S+", "", returned) == key
    if changing.startswith("INSERT "):
        return _of_insert(changing, key, None if is_key else returned)
    at = _end_of_values(changing)
    change, condition = changing[:at], changing[at + len(" WHERE ") :] or "1 = 1"
    table = _target(changing)
    key_columns = key.count(",") + 1
    chosen = key if key_columns == 1 else f"({key})"
    return Returning(
        locking=f"SELECT {key} FROM {table} WHERE {condition} FOR UPDATE",
        changing=f"{change} WHERE {chosen}",
        reading=None if is_key else f"SELECT {returned} FROM {table} WHERE {chosen}",
        is_deletion=changing.startswith("DELETE "),
        key_columns=key_columns,
        values=_marks(change),
        end=_marks(changing),
    )


def _target(query: str) -> str:
    match = re.match(r"(?:UPDATE|DELETE FROM|INSERT INTO|INSERT IGNORE INTO) (\S+)", query)
    assert match is not None, query
    return match[1]


def _of_insert(insert: str, key: str, returned: str | None) -> InsertReturning:
    match = _INSERT.match(insert)
    assert match is not None, insert
    names = [name.rpartition(".")[2] for name in key.split(", ")]
    given = dict(zip(match["columns"].split(", "), _parts(match["values"]), strict=True))
    is_numbered = names[0] not in given
    values = ["%s"] if is_numbered else [given[name][0] for name in names]
    if not is_numbered and any(value != "%s" for value in values):
        returned = returned or key
    return InsertReturning(
        insert=insert,
        reading=None if returned is None else f"SELECT {returned} FROM {match['table']} WHERE {_row(key, len(names))}",
        key=_row(", ".join(values), len(values)),
        key_parameters=None if is_numbered else tuple(at for name in names for at in given[name][1]),
        described=tuple((name.strip('"'), *[None] * 6) for name in names),
        end=_marks(insert),
    )


def _row(listed: str, count: int) -> str:
    return listed if count == 1 else f"({listed})"


def _parts(values: str) -> Iterator[tuple[str, range]]:
    """The values of a row, each with the places of its parameters."""
    depth, part, first = 0, "", 0
    for piece in re.split(r"([(),])", f"{values},"):
        if piece == "," and depth == 0:
            yield part.strip(), range(first, first + _marks(part))
            part, first = "", first + _marks(part)
            continue
        depth += {"(": 1, ")": -1}.get(piece, 0)
        part += piece


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
