"""The statements of the search table on SQLite: an FTS5 table of trigrams."""

# ruff: noqa: S608 - the statements consist of names of ours

import zlib
from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.search.declaration import TABLE, Form, Searched, row_trigger_removal

NUMBERS = 1 << 20
"""The rowid of an entry is the object's id times this, plus a number that follows from the table's name."""

removal = row_trigger_removal


def creation() -> Iterator[str]:
    """The statements that create the table, before its triggers."""
    yield (
        f"CREATE VIRTUAL TABLE {TABLE} USING fts5("
        "resource_type UNINDEXED, resource_id UNINDEXED, owner_id UNINDEXED, content, tokenize = 'trigram')"
    )


def triggers(searched: Searched) -> Iterator[str]:
    """The statements that create what keeps the entries of a table."""
    table, names = searched.table, searched.followed
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in names)
    yield f"CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} BEGIN {insertion(searched, 'NEW')}; END"
    yield (
        f"CREATE TRIGGER {table}_search_update AFTER UPDATE OF {', '.join(names)} ON {table} WHEN {changed} "
        f"BEGIN UPDATE {TABLE} "
        f"SET owner_id = {searched.owner('NEW')}, content = {_content(searched, 'NEW')} "
        f"WHERE rowid = {_rowid(searched, 'NEW')}; END"
    )
    yield (
        f"CREATE TRIGGER {table}_search_delete AFTER DELETE ON {table} "
        f"BEGIN DELETE FROM {TABLE} WHERE rowid = {_rowid(searched, 'OLD')}; END"
    )


def lock(_connection: sa.Connection) -> None:
    """Let other writers of entries wait: on SQLite they do."""


def insertion(searched: Searched, row: str) -> str:
    """An INSERT of the entries of rows, up to its FROM clause."""
    values = f"'{searched.table}', {row}.id, {searched.owner(row)}, {_content(searched, row)}"
    names = "rowid, resource_type, resource_id, owner_id, content"
    return f"INSERT INTO {TABLE} ({names}) SELECT {_rowid(searched, row)}, {values}"


def _content(searched: Searched, row: str) -> str:
    return f"search_text({searched.values(row, _text_of_json)})"


def _text_of_json(column: str, _form: Form) -> str:
    # SQLite has no booleans: it would show them as 1 and 0.
    atom = "CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE atom END"
    return f"(SELECT group_concat({atom}, char(10)) FROM json_tree({column}) WHERE atom IS NOT NULL)"


def _rowid(searched: Searched, row: str) -> str:
    return f"{row}.id * {NUMBERS} + {zlib.crc32(searched.table.encode()) % NUMBERS}"
