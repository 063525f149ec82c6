"""SQLite's triggers that protect the audit log; SQL calls Python to compare and order texts."""

import re
from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.search.declaration import TABLE

NAME = "sqlite"
"""By what name `guards.of_dialect` finds statements."""
ID = "INTEGER"
"""The type of ids."""
BEFORE_CONSTRAINT = ""
"""What stands between an added column and its named constraint."""
FOREIGN_KEY = ""
"""What stands before the reference of such a constraint; it has the name of the column in it."""

EXPECTED = "audit_expected"
"""SQLite's table of the audit records that the current transaction still has to write; empty between transactions.

A deferred foreign key is SQLite's only check that runs at commit. So each change inserts a row that refers to its
audit record, and the record's trigger deletes the row. A row that is left refers to nothing, and the commit fails.
"""

_EXPECTED_RECORDS = (
    """
CREATE TABLE audit_expected (
    resource_type TEXT NOT NULL,
    resource_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (resource_type, resource_id, version),
    FOREIGN KEY (resource_type, resource_id, version) REFERENCES audit_logs (resource_type, resource_id, version)
        DEFERRABLE INITIALLY DEFERRED
) WITHOUT ROWID
""",
    """
CREATE TRIGGER audit_expected_written AFTER INSERT ON audit_logs WHEN NEW.version IS NOT NULL BEGIN
    DELETE FROM audit_expected
    WHERE resource_type = NEW.resource_type AND resource_id = NEW.resource_id AND version = NEW.version;
END
""",
    """
CREATE TRIGGER audit_expected_no_delete BEFORE DELETE ON audit_expected WHEN NOT EXISTS (
    SELECT 1 FROM audit_logs
    WHERE resource_type = OLD.resource_type AND resource_id = OLD.resource_id AND version = OLD.version
)
BEGIN SELECT RAISE(ABORT, 'A change has no audit record.'); END
""",
    """
CREATE TRIGGER audit_expected_no_update BEFORE UPDATE ON audit_expected
BEGIN SELECT RAISE(ABORT, 'A change has no audit record.'); END
""",
)


def text_functions() -> Iterator[str]:
    """Nothing: each connection brings its functions."""
    yield from ()


def drop_text_functions() -> Iterator[str]:
    yield from ()


def functions() -> Iterator[str]:
    """What the guards need, after the audit log and before the first guarded table."""
    yield from _EXPECTED_RECORDS


def drop_functions() -> Iterator[str]:
    """What drops that, after all tables."""
    yield f"DROP TABLE {EXPECTED}"


def append_only(table: str) -> Iterator[str]:
    """What refuses UPDATE and DELETE; SQLite has no TRUNCATE."""
    for event in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'The table {table} is append-only.'); END"
        )


def versions(table: str, columns: str) -> Iterator[str]:
    """What refuses an UPDATE that does not raise the version by one; `columns` limit it to some, as ` OF a, b`."""
    yield f"DROP TRIGGER IF EXISTS {table}_version"
    yield (
        f"CREATE TRIGGER {table}_version BEFORE UPDATE{columns} ON {table} "
        "WHEN NEW.version IS NOT OLD.version + 1 "
        f"BEGIN SELECT RAISE(ABORT, 'An update of {table} must raise the version by one.'); END"
    )


def records(table: str) -> Iterator[str]:
    """What refuses to commit a changed row without the audit record of its version."""
    for name, event, identity, version in (
        ("new", "INSERT", "NEW.id", "NEW.version"),
        ("changed", "UPDATE", "NEW.id", "NEW.version"),
        ("gone", "DELETE", "OLD.id", "OLD.version + 1"),
    ):
        condition = "WHEN NEW.version IS NOT OLD.version " if event == "UPDATE" else ""
        written = f"resource_type = '{table}' AND resource_id = {identity} AND version = {version}"
        yield (
            f"CREATE TRIGGER {table}_{name}_recorded AFTER {event} ON {table} {condition}BEGIN "  # noqa: S608 - names of ours
            f"INSERT INTO {EXPECTED} SELECT '{table}', {identity}, {version} "
            f"WHERE NOT EXISTS (SELECT 1 FROM audit_logs WHERE {written}); END"
        )


def text_index(_name: str, _table: str, _expression: str, _where: str | None) -> Iterator[str]:
    """Nothing: SQLite scans the rows."""
    yield from ()


def is_compared(name: str, kind: str) -> bool:
    """Whether what a database has is compared with the models: SQLite does not report the expression of an index."""
    return kind != "index" and name not in (EXPECTED, TABLE) and not name.startswith(f"{TABLE}_")


def choices(connection: sa.Connection, table: str, column: str, constraint: str, listed: str) -> Iterator[str]:
    """What edits the constraint in sqlite_master, by https://sqlite.org/lang_altertable.html#otheralter.

    Alembic's batch mode copies and drops the table, which would delete the rows of every table that cascades from it.
    """
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")
    pattern = rf"(CONSTRAINT {constraint} CHECK \({column} IN )\([^)]*\)"
    text, count = re.subn(pattern, rf"\1({listed})", connection.scalar(query, {"table": table}))
    if count != 1:
        raise RuntimeError(f"The table {table} has no constraint {constraint} that lists the values of {column}.")
    schema_version = connection.scalar(sa.text("PRAGMA schema_version"))
    yield "PRAGMA writable_schema = ON"
    change = sa.text("UPDATE sqlite_master SET sql = :text WHERE type = 'table' AND name = :table")
    connection.execute(change, {"text": text, "table": table})
    yield f"PRAGMA schema_version = {schema_version + 1}"
    yield "PRAGMA writable_schema = OFF"
