"""The statements of the search table on PostgreSQL: a partition for each resource, one trigram index."""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.search.declaration import TABLE, Form, Searched
from app.core.values import CJK

SAMPLES = 1000
"""Texts of each resource that PostgreSQL keeps to estimate how frequent a part of a text is."""


def creation() -> Iterator[str]:
    """The statements that create the table, before its triggers."""
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


def triggers(searched: Searched) -> Iterator[str]:
    """The statements that create what keeps the entries of a table.

    Insertions and deletions are seen statement by statement, so that a COPY writes its entries in a set. The function
    plans once for each connection: planned while the table was empty, it would scan it for each row.
    """
    table, partition = searched.table, _partition(searched)
    changed = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in searched.followed)
    yield f"CREATE TABLE {partition} PARTITION OF {TABLE} FOR VALUES IN ('{table}')"
    # With the usual 100, a text that one of the samples has is taken for one of each hundredth object, for which it
    # would be faster to read the table: "web-0999" of a million services took 730 ms, and takes 4.
    yield f"ALTER TABLE {partition} ALTER COLUMN content SET STATISTICS {SAMPLES}"
    yield (
        f"CREATE FUNCTION {table}_search() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {insertion(searched, 'added')} FROM added; "
        f"ELSIF TG_OP = 'UPDATE' THEN UPDATE {partition} "
        f"SET owner_id = {searched.owner('NEW')}, content = {_content(searched, 'NEW')} "
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


def removal(searched: Searched) -> Iterator[str]:
    """The statements that remove what `triggers` creates, and the entries."""
    yield f"DROP FUNCTION {searched.table}_search() CASCADE"
    yield f"DROP TABLE {_partition(searched)}"


def lock(connection: sa.Connection) -> None:
    """Let other writers of entries commit before the objects are read, or wait."""
    connection.exec_driver_sql(f"LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE")


def _partition(searched: Searched) -> str:
    return f"{TABLE}_{searched.table}"


def insertion(searched: Searched, row: str) -> str:
    """An INSERT of the entries of rows, up to its FROM clause."""
    values = f"'{searched.table}', {row}.id, {searched.owner(row)}, {_content(searched, row)}"
    return f"INSERT INTO {_partition(searched)} (resource_type, resource_id, owner_id, content) SELECT {values}"


def _content(searched: Searched, row: str) -> str:
    return f"search_text(concat_ws(chr(10), {searched.values(row, _text_of_json)}))"


def _text_of_json(column: str, form: Form) -> str:
    members = {
        Form.LIST: f"jsonb_array_elements_text({column}) AS member (value)",
        Form.OBJECTS: f"jsonb_array_elements({column}) AS element, jsonb_each_text(element) AS member",
        Form.ATTRIBUTES: f"jsonb_each_text({column}) AS member",
    }
    return f"(SELECT string_agg(member.value, chr(10)) FROM {members[form]})"
