"""PostgreSQL's triggers and functions that protect the audit log, and how texts are compared and ordered."""

import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.search.declaration import TABLE
from app.core.values import DIGITS, DOTTED_I, MAX_SORT_KEY, fold

NAME = "postgresql"
"""By what name `guards.of_dialect` finds statements."""
ID = "BIGINT"
"""The type of ids."""
BEFORE_CONSTRAINT = ""
"""What stands between an added column and its named constraint."""
FOREIGN_KEY = ""
"""What stands before the reference of such a constraint; it has the name of the column in it."""

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


def text_functions() -> Iterator[str]:
    """What creates `fold(text)`, `natural_key(text)` and `address_key(text)`, before the tables that index them."""
    # pg_trgm is a trusted extension: the owner of the database may create it.
    yield "CREATE EXTENSION IF NOT EXISTS pg_trgm"
    yield from _fold_functions()
    yield from _natural_key_functions()
    yield _ADDRESS_KEY


def drop_text_functions() -> Iterator[str]:
    yield (
        "DROP FUNCTION audit_terms(text), search_text(text), natural_key(text), fill_numbers(text), fold(text), "
        "fold_unicode(text), address_key(text)"
    )


def _fold_functions() -> Iterator[str]:
    """`fold(text)`: the form in which texts are compared, the same as app.core.values.fold.

    The first function is inlined, so that ASCII costs what lower() costs (0.2 us). RETURN instead of a quoted body
    binds the second one with its schema, which pg_restore and autovacuum need. There `lower` follows the locale of the
    database, which may know no letters but ASCII (C): what it leaves in upper case is translated, at 100 us a text.
    Letters whose lower case depends on the locale (I, a dotted I, a sigma) are translated before.
    """
    lower = {letter: fold(letter) for letter in map(chr, range(0x80, 0x20000)) if is_upper(letter)}
    upper = "".join(lower)
    yield (
        "CREATE FUNCTION fold_unicode(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ BEGIN "
        """t := lower(translate(lower(normalize(t, NFKC) COLLATE "C"), 'İΣς', 'iσσ') COLLATE "default"); """
        f"IF t ~ '[{upper}]' THEN t := translate(t, '{upper}', '{''.join(lower.values())}'); END IF; "
        f"IF strpos(t, 'i\u0307') > 0 THEN t := regexp_replace(t, '{DOTTED_I.pattern}', 'i', 'g'); END IF; "
        "RETURN normalize(t, NFC); END $$"
    )
    yield (
        "CREATE FUNCTION fold(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        """RETURN CASE WHEN octet_length(t) = length(t) THEN lower(t COLLATE "C") ELSE fold_unicode(t) END"""
    )


def _natural_key_functions() -> Iterator[str]:
    """`natural_key(text)`: a text as it is ordered, as app.core.values.natural_key makes it.

    A loop over the numbers takes an eighth of the time of regular expressions that fill and cut them. Only the outer
    function calls one of ours, and binds it with its schema.
    """
    yield (
        "CREATE FUNCTION fill_numbers(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ "
        "DECLARE filled text := ''; number text; start int; BEGIN LOOP "
        "number := substring(t FROM '[0-9]+'); EXIT WHEN number IS NULL; start := strpos(t, number); "
        "filled := filled || left(t, start - 1); t := substr(t, start + length(number)); number := ltrim(number, '0'); "
        f"filled := filled || lpad(number, greatest({DIGITS}, length(number)), '0'); "
        "END LOOP; RETURN filled || t; END $$"
    )
    yield (
        "CREATE FUNCTION natural_key(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        f"RETURN left(fill_numbers(fold(t)), {MAX_SORT_KEY})"
    )


def is_upper(letter: str) -> bool:
    """Whether `fold` changes a letter that NFKC leaves as it is."""
    return unicodedata.is_normalized("NFKC", letter) and fold(letter) != letter


def functions() -> Iterator[str]:
    """What creates the functions that the guards call, after the audit log and before the first guarded table."""
    yield from _FUNCTIONS


def drop_functions() -> Iterator[str]:
    """What drops them, after all tables."""
    yield "DROP FUNCTION require_record(), require_next_version(), refuse_truncation(), refuse_change()"


def append_only(table: str) -> Iterator[str]:
    """What refuses UPDATE, DELETE and TRUNCATE."""
    for event, level in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        yield (
            f"CREATE TRIGGER {table}_no_{event.split()[0].lower()} BEFORE {event} ON {table} "
            f"FOR EACH {level} EXECUTE FUNCTION refuse_change()"
        )


def versions(table: str, columns: str) -> Iterator[str]:
    """What refuses an UPDATE that does not raise the version by one; `columns` limit it to some, as ` OF a, b`."""
    yield f"DROP TRIGGER IF EXISTS {table}_version ON {table}"
    yield (
        f"CREATE TRIGGER {table}_version BEFORE UPDATE{columns} ON {table} FOR EACH ROW "
        "WHEN (NEW.version IS DISTINCT FROM OLD.version + 1) EXECUTE FUNCTION require_next_version()"
    )


def records(table: str) -> Iterator[str]:
    """What refuses to commit a changed row without the audit record of its version."""
    for name, event, condition in (
        ("recorded", "INSERT OR DELETE", ""),
        # An UPDATE that does not raise the version sets unversioned columns, or has been refused already.
        ("change_recorded", "UPDATE", "WHEN (NEW.version IS DISTINCT FROM OLD.version) "),
    ):
        yield (
            f"CREATE CONSTRAINT TRIGGER {table}_{name} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW {condition}EXECUTE FUNCTION require_record()"
        )
    # Row triggers do not see TRUNCATE.
    yield (
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation()"
    )


def text_index(name: str, table: str, expression: str, where: str | None) -> Iterator[str]:
    """What creates a GIN index."""
    condition = f" WHERE {where}" if where else ""
    yield f"CREATE INDEX {name} ON {table} USING gin ({expression}){condition}"


def is_compared(name: str, _kind: str) -> bool:
    """Whether what a database has is compared with the models: all but the partitions of the search table."""
    return not name.startswith(f"{TABLE}_")


def choices(_connection: sa.Connection, table: str, column: str, constraint: str, listed: str) -> Iterator[str]:
    """What replaces the list of values in the CHECK constraint of a column."""
    yield f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"
    yield f"ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({column} IN ({listed}))"
