"""The statements of the search table on MariaDB: an entry for each object, in the order of the resources."""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.searched import TABLE, Form, Searched, row_trigger_removal

_TEXT = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
_LINE = "CHAR(10 USING utf8mb4)"

removal = row_trigger_removal


def creation() -> Iterator[str]:
    """The statements that create the table, before its triggers."""
    yield (
        f"CREATE TABLE {TABLE} (resource_type VARCHAR(64) NOT NULL, resource_id BIGINT NOT NULL, owner_id BIGINT, "
        "content LONGTEXT NOT NULL, PRIMARY KEY (resource_type, resource_id)) "
        "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin"
    )


def triggers(searched: Searched) -> Iterator[str]:
    """The statements that create what keeps the entries of a table."""
    table = searched.table
    same = " AND ".join(f"OLD.{name} <=> NEW.{name}" for name in searched.followed)
    yield (f"CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} FOR EACH ROW {insertion(searched, 'NEW')}")
    yield (
        f"CREATE TRIGGER {table}_search_update AFTER UPDATE ON {table} FOR EACH ROW "
        f"BEGIN IF NOT ({same}) THEN UPDATE {TABLE} "
        f"SET owner_id = {searched.owner('NEW')}, content = {_content(searched, 'NEW')} "
        f"WHERE resource_type = '{table}' AND resource_id = NEW.id; END IF; END"
    )
    yield (
        f"CREATE TRIGGER {table}_search_delete AFTER DELETE ON {table} FOR EACH ROW "
        f"DELETE FROM {TABLE} WHERE resource_type = '{table}' AND resource_id = OLD.id"
    )


def lock(connection: sa.Connection) -> None:
    """Let other writers of entries commit before the objects are read, or wait."""
    connection.exec_driver_sql(f"SELECT count(*) FROM {TABLE} FOR UPDATE")


def insertion(searched: Searched, row: str) -> str:
    """An INSERT of the entries of rows, up to its FROM clause."""
    values = f"'{searched.table}', {row}.id, {searched.owner(row)}, {_content(searched, row)}"
    return f"INSERT INTO {TABLE} (resource_type, resource_id, owner_id, content) SELECT {values}"


def _content(searched: Searched, row: str) -> str:
    return f"search_text(CONCAT_WS({_LINE}, {searched.values(row, _text_of_json)}))"


def _text_of_json(column: str, form: Form) -> str:
    members = {
        Form.LIST: f"""JSON_TABLE({column}, '$[*]' COLUMNS ("value" {_TEXT} PATH '$'))""",
        Form.OBJECTS: f"""JSON_TABLE({column}, '$[*].*' COLUMNS ("value" {_TEXT} PATH '$'))""",
        Form.ATTRIBUTES: f"""JSON_TABLE({column}, '$.*' COLUMNS ("value" {_TEXT} PATH '$'))""",
    }
    return f"(SELECT GROUP_CONCAT(member.value SEPARATOR '\n') FROM {members[form]} AS member)"
