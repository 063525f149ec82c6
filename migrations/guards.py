"""What the databases themselves refuse, so that raw SQL cannot slip past the audit log either."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

_FUNCTIONS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'The table % is append-only.', TG_TABLE_NAME; END $$;
CREATE FUNCTION require_next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'An update of % must raise the version by one.', TG_TABLE_NAME; END $$;
"""

_REQUIRE_RECORD = """
CREATE FUNCTION require_record() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed record := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    reached integer := changed.version + CASE WHEN TG_OP = 'DELETE' THEN 1 ELSE 0 END;
BEGIN
    PERFORM FROM audit_logs
    WHERE resource_type = TG_TABLE_NAME AND resource_id = changed.id AND version = reached;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Version % of % % has no audit record.', reached, TG_TABLE_NAME, changed.id;
    END IF;
    RETURN NULL;
END $$
"""

_REFUSE_TRUNCATION = """
CREATE FUNCTION refuse_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'Rows of % are deleted with an audit record for each.', TG_TABLE_NAME; END $$
"""

EXPECTED = "audit_expected"
"""SQLite's table of records that the current transaction still has to write; empty whenever nobody writes."""

_EXPECTED = (
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


def create_functions() -> None:
    """Create what the triggers call; once, before the first guard."""
    if _on_postgresql():
        op.execute(_FUNCTIONS)


def create_truncation_function() -> None:
    """Create what `guard_truncation` calls; once."""
    if _on_postgresql():
        op.execute(_REFUSE_TRUNCATION)


def drop_functions() -> None:
    if _on_postgresql():
        op.execute("DROP FUNCTION refuse_change(); DROP FUNCTION require_next_version();")


def guard_append_only(table: str) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE."""
    if _on_postgresql():
        for event, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER {table}_no_{event.split()[0].lower()} BEFORE {event} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION refuse_change()"
            )
        return
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'The table {table} is append-only.'); END"
        )


def guard_links(table: str) -> None:
    """Refuse a record without a MAC; those that are there already stay as they are."""
    if _on_postgresql():
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_linked CHECK (mac IS NOT NULL) NOT VALID")
        return
    op.execute(
        f"CREATE TRIGGER {table}_linked BEFORE INSERT ON {table} WHEN NEW.mac IS NULL "
        f"BEGIN SELECT RAISE(ABORT, 'A record of {table} must have a MAC.'); END"
    )


def drop_links_guard(table: str) -> None:
    if _on_postgresql():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_linked")
    else:
        op.execute(f"DROP TRIGGER {table}_linked")


def guard_versions(table: str, *, unversioned: Collection[str] = ()) -> None:
    """Refuse an UPDATE that does not raise the version by one, unless only `unversioned` columns are set.

    With `unversioned` columns the others are listed in the trigger: guard the table again after adding one.
    """
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
    listed = f" OF {', '.join(name for name in columns if name not in unversioned)}" if unversioned else ""
    name = f"{table}_version"
    op.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {table}" if _on_postgresql() else ""))
    if _on_postgresql():
        op.execute(
            f"CREATE TRIGGER {name} BEFORE UPDATE{listed} ON {table} FOR EACH ROW "
            "WHEN (NEW.version IS DISTINCT FROM OLD.version + 1) EXECUTE FUNCTION require_next_version()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE UPDATE{listed} ON {table} "
            "WHEN NEW.version IS NOT OLD.version + 1 "
            f"BEGIN SELECT RAISE(ABORT, 'An update of {table} must raise the version by one.'); END"
        )


def guard_changes(table: str) -> None:
    """Refuse every change of a table's rows that raises no version or leaves no record; for a new audited table."""
    guard_versions(table)
    guard_records(table)
    guard_truncation(table)


def guard_records(table: str) -> None:
    """Refuse, when it commits, what has changed a row and written no record of that version."""
    if _on_postgresql():
        _require_records_on_postgresql(table)
    else:
        _require_records_on_sqlite(table)


def _require_records_on_postgresql(table: str) -> None:
    for name, event in (
        (f"{table}_recorded", f"INSERT OR DELETE ON {table}"),
        (f"{table}_change_recorded", f"UPDATE ON {table}"),
    ):
        # What raises no version is bookkeeping, or has been refused already.
        when = "WHEN (NEW.version IS DISTINCT FROM OLD.version) " if event.startswith("UPDATE") else ""
        op.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {name} AFTER {event} DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW {when}EXECUTE FUNCTION require_record()"
        )


def _require_records_on_sqlite(table: str) -> None:
    for name, event, identity, version in (
        ("new", "INSERT", "NEW.id", "NEW.version"),
        ("changed", "UPDATE", "NEW.id", "NEW.version"),
        ("gone", "DELETE", "OLD.id", "OLD.version + 1"),
    ):
        when = "WHEN NEW.version IS NOT OLD.version " if event == "UPDATE" else ""
        place = f"resource_type = '{table}' AND resource_id = {identity} AND version = {version}"
        op.execute(f"DROP TRIGGER IF EXISTS {table}_{name}_recorded")
        op.execute(
            f"CREATE TRIGGER {table}_{name}_recorded AFTER {event} ON {table} {when}BEGIN "  # noqa: S608 - names of ours
            f"INSERT INTO {EXPECTED} SELECT '{table}', {identity}, {version} "
            f"WHERE NOT EXISTS (SELECT 1 FROM audit_logs WHERE {place}); END"
        )


def expect_records() -> None:
    """Create where SQLite notes the records that a transaction still has to write; once.

    SQLite's only check that waits for the commit is a deferred foreign key. So a change notes its record, which takes
    the note away again; what is left refers to nothing then, and cannot be committed.
    """
    for statement in _EXPECTED:
        op.execute(statement)


def guard_truncation(table: str) -> None:
    """Refuse TRUNCATE, of which no trigger sees the rows; SQLite has none."""
    if _on_postgresql():
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation()"
        )


def create_text_index(name: str, table: str, expression: str) -> None:
    """Create PostgreSQL's index of the runs of three letters in a text; SQLite has none, and reads its rows."""
    if _on_postgresql():
        op.execute(f"CREATE INDEX {name} ON {table} USING gin ({expression})")


def create_record_function() -> None:
    """Create what `guard_records` calls; once."""
    if _on_postgresql():
        op.execute(_REQUIRE_RECORD)


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
