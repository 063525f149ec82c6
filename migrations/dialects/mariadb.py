"""MariaDB's triggers that protect the audit log, and how texts are compared and ordered."""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from app.core.db.dialects.mariadb.folded_columns import SUFFIXES
from app.core.db.dialects.mariadb.restoring import FLAG, GUARD, IS_RESTORING
from app.core.db.search.declaration import TABLE
from migrations.dialects import mariadb_json, mariadb_privileges, mariadb_texts
from migrations.dialects.mariadb_tables import NO_TRUNCATE

NAME = "mariadb"
"""By what name `guards.of_dialect` finds statements."""
ID = "BIGINT"
"""The type of ids."""
BEFORE_CONSTRAINT = ", ADD"
"""What stands between an added column and its named constraint."""
FOREIGN_KEY = "FOREIGN KEY ({}) "
"""What stands before the reference of such a constraint; it has the name of the column in it."""

EXPECTED = "audit_expected"
"""The table of the audit records that transactions still have to write.

MariaDB has no check that runs at the commit. So each change notes its record here, with the number of the connection's
session, and the record's trigger deletes the note. The application commits by `commit_recorded`, which refuses while a
note of its session is left. What others commit without a record stays noted, for `flask audit verify`.

A bulk write inserts its records first and so has no notes. `@audit_noted` says that the connection has made one since
its last commit: without one, the record's trigger has nothing to delete. It decides only what is looked for, never
what may be committed.
"""

_GIN_INDEXES = ("ix_audit_logs_terms", "ix_audit_logs_texts")
_SESSION = "COALESCE(@audit_session, 0)"
_EXPECTED_RECORDS = (
    f"CREATE TABLE {FLAG} (id TINYINT NOT NULL PRIMARY KEY) ENGINE=InnoDB",
    GUARD,
    f"""
CREATE TABLE {EXPECTED} (
    session BIGINT UNSIGNED NOT NULL,
    resource_type VARCHAR(64) NOT NULL,
    resource_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (session, resource_type, resource_id, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin
""",
    f"""
CREATE TRIGGER {EXPECTED}_written AFTER INSERT ON audit_logs FOR EACH ROW BEGIN
    IF NEW.version IS NOT NULL AND (@audit_noted = 1 OR @audit_session IS NULL) THEN
        DELETE FROM {EXPECTED} WHERE session = {_SESSION} AND resource_type = NEW.resource_type
            AND resource_id = NEW.resource_id AND version = NEW.version;
    END IF;
END
""",
    f"""
CREATE TRIGGER {EXPECTED}_no_delete BEFORE DELETE ON {EXPECTED} FOR EACH ROW BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM audit_logs WHERE resource_type = OLD.resource_type AND resource_id = OLD.resource_id
            AND version = OLD.version
    ) THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'A change has no audit record.';
    END IF;
END
""",
    f"""
CREATE TRIGGER {EXPECTED}_no_update BEFORE UPDATE ON {EXPECTED} FOR EACH ROW
SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'A change has no audit record.'
""",
    f"""
CREATE PROCEDURE commit_recorded()
BEGIN
    DECLARE missing VARCHAR(200) DEFAULT NULL;
    IF EXISTS (SELECT 1 FROM {EXPECTED} WHERE session = {_SESSION}) THEN
        SELECT CONCAT('Version ', version, ' of ', resource_type, ' ', resource_id, ' has no audit record.')
        INTO missing FROM {EXPECTED} WHERE session = {_SESSION} LIMIT 1;
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = missing;
    END IF;
    SET @audit_noted = NULL;
    COMMIT;
END
""",
    # SKIP LOCKED does not skip what this transaction has locked: all its events are in one chain.
    """
CREATE PROCEDURE take_places(places BIGINT)
BEGIN
    DECLARE chain BIGINT DEFAULT NULL;
    SET chain = (SELECT id FROM audit_event_chains ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
    IF chain IS NULL THEN
        SET chain = nextval(audit_event_chains_id_seq);
        INSERT INTO audit_event_chains (id, length) VALUES (chain, places);
    ELSE
        UPDATE audit_event_chains SET length = length + places WHERE id = chain;
    END IF;
    SELECT id, length - places AS length, (
        SELECT mac FROM audit_logs WHERE event_chain = chains.id AND event_number = chains.length - places LIMIT 1
    ) AS mac, (SELECT min(name) FROM audit_origin) AS log
    FROM audit_event_chains AS chains WHERE id = chain;
END
""",
)


def text_functions() -> Iterator[str]:
    """What creates `fold(text)` and the others, before the tables that index what they give."""
    mariadb_privileges.require_privileges(op.get_bind())
    for statement in mariadb_texts.text_functions(op.get_bind()):
        yield statement.replace(":", "\\:")
    yield from mariadb_json.functions()


def drop_text_functions() -> Iterator[str]:
    yield from mariadb_json.drop_functions()
    yield from mariadb_texts.drop_text_functions()


def functions() -> Iterator[str]:
    """What the guards need, after the audit log and before the first guarded table."""
    yield from _EXPECTED_RECORDS


def drop_functions() -> Iterator[str]:
    """What drops that, after all tables."""
    yield f"DROP TABLE {EXPECTED}"
    yield f"DROP TABLE {FLAG}"
    yield "DROP PROCEDURE commit_recorded"
    yield "DROP PROCEDURE take_places"


def append_only(table: str) -> Iterator[str]:
    """What refuses UPDATE, DELETE and TRUNCATE."""
    yield from _no_truncate(table, f"The table {table} is append-only")
    for event in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} FOR EACH ROW "
            f"BEGIN IF NOT {IS_RESTORING} THEN SIGNAL SQLSTATE '45000' "
            f"SET MESSAGE_TEXT = 'The table {table} is append-only.'; END IF; END"
        )


def versions(table: str, columns: str) -> Iterator[str]:
    """What refuses an UPDATE that does not raise the version by one; `columns` limit it to some, as ` OF a, b`."""
    names = [name for name in columns.removeprefix(" OF ").split(", ") if name and not _is_hidden(name)]
    # Where columns are not versioned, one that sets others to what they are is let pass.
    changed = " OR ".join(f"NOT (OLD.{name} <=> NEW.{name})" for name in names) or "TRUE"
    yield (
        f"CREATE OR REPLACE TRIGGER {table}_version BEFORE UPDATE ON {table} FOR EACH ROW BEGIN "
        f"IF NOT (NEW.version <=> OLD.version + 1) AND ({changed}) THEN SIGNAL SQLSTATE '45000' "
        f"SET MESSAGE_TEXT = 'An update of {table} must raise the version by one.'; END IF; END"
    )


def records(table: str) -> Iterator[str]:
    """What notes that a changed row needs the audit record of its version, and refuses TRUNCATE."""
    yield from _no_truncate(table, f"Delete {table} with an audit record for each")
    for name, event, identity, version in (
        ("new", "INSERT", "NEW.id", "NEW.version"),
        ("changed", "UPDATE", "NEW.id", "NEW.version"),
        ("gone", "DELETE", "OLD.id", "OLD.version + 1"),
    ):
        condition = "NOT (NEW.version <=> OLD.version) AND " if event == "UPDATE" else ""
        written = f"resource_type = '{table}' AND resource_id = {identity} AND version = {version}"
        yield (
            f"CREATE TRIGGER {table}_{name}_recorded AFTER {event} ON {table} FOR EACH ROW BEGIN "
            f"IF {condition}NOT EXISTS (SELECT 1 FROM audit_logs WHERE {written}) AND NOT {IS_RESTORING} THEN "
            f"INSERT INTO {EXPECTED} VALUES ({_SESSION}, '{table}', {identity}, {version}); SET @audit_noted = 1; "
            "END IF; END"
        )


def _no_truncate(table: str, reason: str) -> Iterator[str]:
    """A table that refers to this one and is always empty: TRUNCATE runs no triggers, but heeds foreign keys.

    The server's error names the constraint.
    """
    key = sa.inspect(op.get_bind()).get_pk_constraint(table)["constrained_columns"][0]
    yield (
        f'CREATE TABLE {table}{NO_TRUNCATE} (CONSTRAINT "{reason}" FOREIGN KEY ({key}) REFERENCES {table} ({key})) '
        f"ENGINE=InnoDB SELECT {key} FROM {table} LIMIT 0"
    )


def text_index(_name: str, _table: str, _expression: str, _where: str | None) -> Iterator[str]:
    """Nothing: MariaDB scans the rows."""
    yield from ()


def is_compared(name: str, kind: str) -> bool:
    """Whether what a database has is compared with the models: MariaDB has no GIN indexes, and columns of its own."""
    if kind == "index":
        return name not in _GIN_INDEXES
    return name not in (EXPECTED, FLAG, TABLE, *mariadb_texts.TABLES) and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    return name.endswith(("__or_0", "__where", NO_TRUNCATE, *SUFFIXES.values()))


def choices(_connection: sa.Connection, table: str, column: str, constraint: str, listed: str) -> Iterator[str]:
    """What replaces the list of values in the CHECK constraint of a column."""
    yield f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"
    yield f"ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({column} IN ({listed}))"
