"""The statements of the search table on SQLite: an FTS5 table of trigrams."""

# ruff: noqa: S608 - the statements consist of names of ours

import zlib
from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.searched import TABLE, Form, Searched

NUMBERS = 1 << 20
"""The rowid of an entry is the object's id times this, plus a number that follows from the table's name."""


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
    yield f"CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} BEGIN {_insertion(searched, 'NEW')}; END"
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


def removal(searched: Searched) -> Iterator[str]:
    """The statements that remove what `triggers` creates, and the entries."""
    for event in ("insert", "update", "delete"):
        yield f"DROP TRIGGER {searched.table}_search_{event}"
    yield f"DELETE FROM {TABLE} WHERE resource_type = '{searched.table}'"


def rebuilding(searched: Searched) -> Iterator[str]:
    """The statements that write the entries of a table anew; the last one inserts them."""
    yield f"DELETE FROM {TABLE} WHERE resource_type = '{searched.table}'"
    yield f"{_insertion(searched, 'item')} FROM {searched.table} AS item"


def lock(_connection: sa.Connection) -> None:
    """Let other writers of entries wait: on SQLite they do."""


def _insertion(searched: Searched, row: str) -> str:
    """An INSERT of entries up to its FROM clause."""
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
