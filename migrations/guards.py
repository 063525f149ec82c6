"""Reusable migration operations: triggers and functions by which the database itself protects the audit log.

They hold for raw SQL too. PostgreSQL and SQLite differ in how a trigger is written; each operation does what its
database needs.
"""

import os
import unicodedata
from collections.abc import Collection, Sequence

import sqlalchemy as sa
from alembic import op

from app.core.db.dialects.protocol import SearchStatements
from app.core.db.dialects.registry import dialect_of
from app.core.db.searched import Form, Searched
from app.core.values import DIGITS, DOTTED_I, MAX_SORT_KEY, fold

_FUNCTIONS = (
    """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'The table % is append-only.', TG_TABLE_NAME; END $$
""",
    """
CREATE FUNCTION require_next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'An update of % must raise the version by one.', TG_TABLE_NAME; END $$
""",
    """
CREATE FUNCTION refuse_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'Rows of % are deleted with an audit record for each.', TG_TABLE_NAME; END $$
""",
    # A connection keeps its plan: planned while the log had one page, it would scan the whole log for each row of an
    # import. Hence enable_seqscan = off.
    """
CREATE FUNCTION require_record() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
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
""",
)

# inet_send puts four bytes before those of the address.
_ADDRESS_KEY = """
CREATE FUNCTION address_key(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF t ~ '^([0-9]{1,3}\\.){3}[0-9]{1,3}$' THEN
        RETURN '4' || lpad(split_part(t, '.', 1), 3, '0') || lpad(split_part(t, '.', 2), 3, '0')
            || lpad(split_part(t, '.', 3), 3, '0') || lpad(split_part(t, '.', 4), 3, '0');
    END IF;
    IF t ~ '^[0-9a-f.]*:[0-9a-f.:]*(%.*)?$' THEN
        RETURN '6' || (
            SELECT string_agg(lpad(get_byte(address, at)::text, 3, '0'), '' ORDER BY at)
            FROM inet_send(split_part(t, '%', 1)::inet) AS address, generate_series(4, 19) AS at
        );
    END IF;
    RETURN NULL;
END $$
"""

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

CONSENT = "DROP_AUDIT_LOG"
"""The environment variable that allows a downgrade to drop the audit log; its value is the name of that log."""


def create_functions() -> None:
    """Create what the guards call, after the audit log and before the first guarded table."""
    for statement in _FUNCTIONS if on_postgresql() else _EXPECTED_RECORDS:
        op.execute(statement)


def create_fold_functions() -> None:
    """Create `fold(text)` on PostgreSQL: the form in which texts are compared, the same as app.core.values.fold.

    The first function is inlined, so that ASCII costs what lower() costs (0.2 us). RETURN instead of a quoted body
    binds the second one with its schema, which pg_restore and autovacuum need. There `lower` follows the locale of the
    database, which may know no letters but ASCII (C): what it leaves in upper case is translated, at 100 us a text.
    Letters whose lower case depends on the locale (I, a dotted I, a sigma) are translated before.
    """
    lower = {letter: fold(letter) for letter in map(chr, range(0x80, 0x20000)) if is_upper(letter)}
    upper = "".join(lower)
    op.execute(
        "CREATE FUNCTION fold_unicode(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ BEGIN "
        """t := lower(translate(lower(normalize(t, NFKC) COLLATE "C"), 'İΣς', 'iσσ') COLLATE "default"); """
        f"IF t ~ '[{upper}]' THEN t := translate(t, '{upper}', '{''.join(lower.values())}'); END IF; "
        f"IF strpos(t, 'i\u0307') > 0 THEN t := regexp_replace(t, '{DOTTED_I.pattern}', 'i', 'g'); END IF; "
        "RETURN normalize(t, NFC); END $$"
    )
    op.execute(
        "CREATE FUNCTION fold(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        """RETURN CASE WHEN octet_length(t) = length(t) THEN lower(t COLLATE "C") ELSE fold_unicode(t) END"""
    )


def create_natural_key_function() -> None:
    """Create `natural_key(text)` on PostgreSQL: a text as it is ordered, as app.core.values.natural_key makes it.

    A loop over the numbers takes an eighth of the time of regular expressions that fill and cut them. Only the outer
    function calls one of ours, and binds it with its schema.
    """
    op.execute(
        "CREATE FUNCTION fill_numbers(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ "
        "DECLARE filled text := ''; number text; start int; BEGIN LOOP "
        "number := substring(t FROM '[0-9]+'); EXIT WHEN number IS NULL; start := strpos(t, number); "
        "filled := filled || left(t, start - 1); t := substr(t, start + length(number)); number := ltrim(number, '0'); "
        f"filled := filled || lpad(number, greatest({DIGITS}, length(number)), '0'); "
        "END LOOP; RETURN filled || t; END $$"
    )
    op.execute(
        "CREATE FUNCTION natural_key(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        f"RETURN left(fill_numbers(fold(t)), {MAX_SORT_KEY})"
    )


def create_address_function() -> None:
    """Create `address_key(text)` on PostgreSQL: an IP address as it is ordered, as app.core.addresses.address_key."""
    op.execute(_ADDRESS_KEY)


def is_upper(letter: str) -> bool:
    """Whether `fold` changes a letter that NFKC leaves as it is."""
    return unicodedata.is_normalized("NFKC", letter) and fold(letter) != letter


def drop_functions() -> None:
    """Drop what `create_functions` creates, after all tables."""
    if on_postgresql():
        op.execute("DROP FUNCTION require_record(), require_next_version(), refuse_truncation(), refuse_change()")
    else:
        op.drop_table(EXPECTED)


def guard_append_only(table: str) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE."""
    if on_postgresql():
        for event, level in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER {table}_no_{event.split()[0].lower()} BEFORE {event} ON {table} "
                f"FOR EACH {level} EXECUTE FUNCTION refuse_change()"
            )
        return
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'The table {table} is append-only.'); END"
        )


def guard_changes(table: str, *, unversioned: Collection[str] = ()) -> None:
    """Refuse a change of a row that does not raise its version or has no audit record; for every audited table."""
    guard_versions(table, unversioned=unversioned)
    _require_records(table)
    if on_postgresql():
        # Row triggers do not see TRUNCATE. SQLite has none.
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation()"
        )


def guard_versions(table: str, *, unversioned: Collection[str] = ()) -> None:
    """Refuse an UPDATE that does not raise the version by one, unless it sets `unversioned` columns only.

    With `unversioned` columns the trigger lists all others: call this again after adding a column to such a table.
    """
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
    listed = f" OF {', '.join(name for name in columns if name not in unversioned)}" if unversioned else ""
    name = f"{table}_version"
    op.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {table}" if on_postgresql() else ""))
    if on_postgresql():
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


def create_search_entries() -> None:
    """Create the table of what can be found, before the tables whose objects are in it."""
    for statement in _search().creation():
        op.execute(sa.text(statement.replace(":", "\\:")))


def keep_search_entries(table: str, columns: Sequence[str], *, is_private: bool = False) -> None:
    """Keep the text of a table's objects in the table of what can be found, and write it for those that there are.

    `columns` are searched in the order of their weight, the object's name first; one that is no text says its form
    (`tags:list`). After changing what is searched of a table, call `forget_search_entries` and then this.
    """
    searched = _searched(table, columns, is_private=is_private)
    for statement in (*_search().triggers(searched), *_search().rebuilding(searched)):
        op.execute(sa.text(statement.replace(":", "\\:")))


def forget_search_entries(table: str) -> None:
    """Undo `keep_search_entries`, before the table is dropped or other columns of it are searched."""
    for statement in _search().removal(_searched(table, ())):
        op.execute(statement)


def _search() -> SearchStatements:
    return dialect_of(op.get_bind()).search


def _searched(table: str, columns: Sequence[str], *, is_private: bool = False) -> Searched:
    forms = ((name, Form(form or "text")) for name, _, form in (each.partition(":") for each in columns))
    return Searched(table, tuple(forms), is_private=is_private)


def create_text_index(name: str, table: str, expression: str, *, where: str | None = None) -> None:
    """Create a GIN index on PostgreSQL; SQLite has no counterpart and scans the rows."""
    if on_postgresql():
        condition = f" WHERE {where}" if where else ""
        op.execute(f"CREATE INDEX {name} ON {table} USING gin ({expression}){condition}")


def require_consent_to_drop_log() -> None:
    """Raise RuntimeError where a downgrade would drop audit records and the environment does not name their log."""
    connection = op.get_bind()
    count = connection.scalar(sa.text("SELECT count(*) FROM audit_logs"))
    name = connection.scalar(sa.text("SELECT name FROM audit_origin"))
    if count and os.environ.get(CONSENT) != name:
        raise RuntimeError(
            f"This downgrade would drop the audit log with its {count} records, and they cannot be restored without a "
            f"backup. To drop them, set {CONSENT}={name} and run it again."
        )


def on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _require_records(table: str) -> None:
    """Refuse to commit a changed row without the audit record of its version."""
    if on_postgresql():
        for name, event, condition in (
            ("recorded", "INSERT OR DELETE", ""),
            # An UPDATE that does not raise the version sets unversioned columns, or has been refused already.
            ("change_recorded", "UPDATE", "WHEN (NEW.version IS DISTINCT FROM OLD.version) "),
        ):
            op.execute(
                f"CREATE CONSTRAINT TRIGGER {table}_{name} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED "
                f"FOR EACH ROW {condition}EXECUTE FUNCTION require_record()"
            )
        return
    for name, event, identity, version in (
        ("new", "INSERT", "NEW.id", "NEW.version"),
        ("changed", "UPDATE", "NEW.id", "NEW.version"),
        ("gone", "DELETE", "OLD.id", "OLD.version + 1"),
    ):
        condition = "WHEN NEW.version IS NOT OLD.version " if event == "UPDATE" else ""
        written = f"resource_type = '{table}' AND resource_id = {identity} AND version = {version}"
        op.execute(
            f"CREATE TRIGGER {table}_{name}_recorded AFTER {event} ON {table} {condition}BEGIN "  # noqa: S608 - names of ours
            f"INSERT INTO {EXPECTED} SELECT '{table}', {identity}, {version} "
            f"WHERE NOT EXISTS (SELECT 1 FROM audit_logs WHERE {written}); END"
        )
