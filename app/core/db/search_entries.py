"""The search table: the searched text of every object, kept up to date by triggers.

A trigger sees every change, whatever path it came by: the session, the set-based writer, a cascade, a restore, plain
SQL. On PostgreSQL the table has a partition for each resource, so that the planner knows how frequent a text is among
the objects of each, and one trigram index. On SQLite it is an FTS5 table of trigrams.

The statements are made here for the migrations, which create the triggers, and for `flask search rebuild`, which
writes the table anew.
"""

# ruff: noqa: S608 - the statements consist of names of ours

import enum
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.values import CJK

TABLE = "search_entries"
NUMBERS = 1 << 20
"""SQLite's rowid of an entry is the object's id times this, plus a number that follows from the table's name."""


class Form(enum.Enum):
    """How a column's value is searched."""

    TEXT = "text"
    NUMBER = "number"
    MAC = "mac"
    """With its separators, and without."""
    LIST = "list"
    OBJECTS = "objects"
    """A list of objects, by the values in them."""
    ATTRIBUTES = "attributes"
    """An object, by its values."""


class Searched(NamedTuple):
    """A table whose objects can be found: its columns in the order of their weight, the object's name first."""

    table: str
    columns: Sequence[tuple[str, Form]]
    is_private: bool = False


class SearchEntry(Base):
    """The searched text of one object: the values of its fields, each on a line of its own, as `search_text` has them.

    `owner_id` is set where only the owner and administrators may find the object; 0 is nobody.
    """

    __tablename__ = TABLE

    resource_type: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    resource_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    owner_id: Mapped[int | None] = mapped_column(Id)
    content: Mapped[str] = mapped_column(sa.Text)

    __table_args__ = (
        sa.Index(
            "ix_search_entries_content",
            "content",
            postgresql_using="gin",
            postgresql_ops={"content": "gin_trgm_ops"},
        ),
    )


def creation(dialect: str) -> Iterator[str]:
    """The statements that create the table, before its triggers."""
    if dialect == "sqlite":
        yield (
            f"CREATE VIRTUAL TABLE {TABLE} USING fts5("
            "resource_type UNINDEXED, resource_id UNINDEXED, owner_id UNINDEXED, content, tokenize = 'trigram')"
        )
        return
    yield (
        "CREATE FUNCTION search_text(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        """RETURN CASE WHEN octet_length(t) = length(t) THEN lower(t COLLATE "C") """
        rf"ELSE regexp_replace(fold_unicode(t), '([{CJK}])', ' \1 ', 'g') END"
    )
    yield (
        f"CREATE TABLE {TABLE} (resource_type varchar(64) NOT NULL, resource_id bigint NOT NULL, owner_id bigint, "
        f"content text NOT NULL, CONSTRAINT pk_{TABLE} PRIMARY KEY (resource_type, resource_id)) "
        "PARTITION BY LIST (resource_type)"
    )
    yield f"CREATE INDEX ix_{TABLE}_content ON {TABLE} USING gin (content gin_trgm_ops)"


def triggers(dialect: str, searched: Searched) -> Iterator[str]:
    """The statements that create what keeps the entries of a table."""
    yield from _postgresql_triggers(searched) if dialect == "postgresql" else _sqlite_triggers(searched)


def removal(dialect: str, searched: Searched) -> Iterator[str]:
    """The statements that remove what `triggers` creates, and the entries."""
    if dialect == "sqlite":
        for event in ("insert", "update", "delete"):
            yield f"DROP TRIGGER {searched.table}_search_{event}"
        yield f"DELETE FROM {TABLE} WHERE resource_type = '{searched.table}'"
        return
    yield f"DROP FUNCTION {searched.table}_search() CASCADE"
    yield f"DROP TABLE {_partition(searched)}"


def rebuilding(dialect: str, searched: Searched) -> Iterator[str]:
    """The statements that write the entries of a table anew."""
    target = _partition(searched) if dialect == "postgresql" else TABLE
    yield f"DELETE FROM {target} WHERE resource_type = '{searched.table}'"
    yield f"{_insertion(dialect, searched, 'item')} FROM {searched.table} AS item"


def _partition(searched: Searched) -> str:
    return f"{TABLE}_{searched.table}"


def _insertion(dialect: str, searched: Searched, row: str) -> str:
    """An INSERT of entries up to its FROM clause."""
    values = f"'{searched.table}', {row}.id, {_owner(searched, row)}, {_content(dialect, searched, row)}"
    names = "resource_type, resource_id, owner_id, content"
    if dialect == "postgresql":
        return f"INSERT INTO {_partition(searched)} ({names}) SELECT {values}"
    return f"INSERT INTO {TABLE} (rowid, {names}) SELECT {_rowid(searched, row)}, {values}"


def _owner(searched: Searched, row: str) -> str:
    return f"coalesce({row}.created_by_id, 0)" if searched.is_private else "NULL"


def _followed(searched: Searched) -> list[str]:
    """The columns whose change changes an entry: an object may be handed over to another owner."""
    names = [name for name, _ in searched.columns]
    return [*names, "created_by_id"] if searched.is_private else names


def _content(dialect: str, searched: Searched, row: str) -> str:
    values = _postgresql_values if dialect == "postgresql" else _sqlite_values
    listed = ", ".join(value for name, form in searched.columns for value in values(f"{row}.{name}", form))
    return f"search_text(concat_ws(chr(10), {listed}))" if dialect == "postgresql" else f"search_text({listed})"


def _postgresql_values(column: str, form: Form) -> Iterable[str]:
    match form:
        case Form.TEXT | Form.NUMBER:
            return (column,)
        case Form.MAC:
            return (column, f"replace({column}, ':', '')")
        case Form.LIST:
            members = f"jsonb_array_elements_text({column}) AS member (value)"
        case Form.OBJECTS:
            members = f"jsonb_array_elements({column}) AS element, jsonb_each_text(element) AS member"
        case Form.ATTRIBUTES:
            members = f"jsonb_each_text({column}) AS member"
    return (f"(SELECT string_agg(member.value, chr(10)) FROM {members})",)


def _sqlite_values(column: str, form: Form) -> Iterable[str]:
    match form:
        case Form.TEXT | Form.NUMBER:
            return (column,)
        case Form.MAC:
            return (column, f"replace({column}, ':', '')")
    # SQLite has no booleans: it would show them as 1 and 0.
    atom = "CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE atom END"
    return (f"(SELECT group_concat({atom}, char(10)) FROM json_tree({column}) WHERE atom IS NOT NULL)",)


def _postgresql_triggers(searched: Searched) -> Iterator[str]:
    """Insertions and deletions are seen statement by statement, so that a COPY writes its entries in a set.

    The function plans once for each connection: planned while the table was empty, it would scan it for each row.
    """
    table, partition = searched.table, _partition(searched)
    changed = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in _followed(searched))
    yield f"CREATE TABLE {partition} PARTITION OF {TABLE} FOR VALUES IN ('{table}')"
    yield (
        f"CREATE FUNCTION {table}_search() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {_insertion('postgresql', searched, 'added')} FROM added; "
        f"ELSIF TG_OP = 'UPDATE' THEN UPDATE {partition} "
        f"SET owner_id = {_owner(searched, 'NEW')}, content = {_content('postgresql', searched, 'NEW')} "
        f"WHERE resource_type = '{table}' AND resource_id = NEW.id; "
        f"ELSE DELETE FROM {partition} AS entry USING removed "
        f"WHERE entry.resource_type = '{table}' AND entry.resource_id = removed.id; "
        "END IF; RETURN NULL; END $$"
    )
    for name, event in (
        ("insert", "INSERT ON {} REFERENCING NEW TABLE AS added FOR EACH STATEMENT"),
        ("update", f"UPDATE ON {{}} FOR EACH ROW WHEN ({changed})"),
        ("delete", "DELETE ON {} REFERENCING OLD TABLE AS removed FOR EACH STATEMENT"),
    ):
        yield f"CREATE TRIGGER {table}_search_{name} AFTER {event.format(table)} EXECUTE FUNCTION {table}_search()"


def _sqlite_triggers(searched: Searched) -> Iterator[str]:
    table = searched.table
    names = _followed(searched)
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in names)
    yield (
        f"CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} "
        f"BEGIN {_insertion('sqlite', searched, 'NEW')}; END"
    )
    yield (
        f"CREATE TRIGGER {table}_search_update AFTER UPDATE OF {', '.join(names)} ON {table} WHEN {changed} "
        f"BEGIN UPDATE {TABLE} "
        f"SET owner_id = {_owner(searched, 'NEW')}, content = {_content('sqlite', searched, 'NEW')} "
        f"WHERE rowid = {_rowid(searched, 'NEW')}; END"
    )
    yield (
        f"CREATE TRIGGER {table}_search_delete AFTER DELETE ON {table} "
        f"BEGIN DELETE FROM {TABLE} WHERE rowid = {_rowid(searched, 'OLD')}; END"
    )


def _rowid(searched: Searched, row: str) -> str:
    return f"{row}.id * {NUMBERS} + {zlib.crc32(searched.table.encode()) % NUMBERS}"
