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


def create_functions() -> None:
    """Create what the triggers call; once, before the first guard."""
    if _on_postgresql():
        op.execute(_FUNCTIONS)


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


def guard_records(table: str) -> None:
    """Refuse, when it commits, what has changed a row and written no record of that version.

    On PostgreSQL only: SQLite has no trigger that waits for the end of the transaction.
    """
    if not _on_postgresql():
        return
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


def create_record_function() -> None:
    """Create what `guard_records` calls; once."""
    if _on_postgresql():
        op.execute(_REQUIRE_RECORD)


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
