"""The statements of the search table on MariaDB: an entry for each object, in the order of the resources."""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator

import sqlalchemy as sa

from app.core.db.search.declaration import TABLE, Form, Searched, row_trigger_removal

_TEXT = "VARCHAR(10000) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
"""The text of a member, of any length that an object's texts may have (MAX_TEXT in app.resource.json_fields).

With a LONGTEXT the server writes each list into a temporary table on the disk, which takes 0.3 ms for an empty one.
"""
_LONG_TEXT = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
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
    values = f"'{table}', NEW.id, {searched.owner('NEW')}, entry"
    yield (
        f"CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} FOR EACH ROW BEGIN {_entry(searched)} "
        f"INSERT INTO {TABLE} (resource_type, resource_id, owner_id, content) VALUES ({values}); END"
    )
    yield (
        f"CREATE TRIGGER {table}_search_update AFTER UPDATE ON {table} FOR EACH ROW "
        f"BEGIN IF NOT ({same}) THEN BEGIN {_entry(searched)} UPDATE {TABLE} "
        f"SET owner_id = {searched.owner('NEW')}, content = entry "
        f"WHERE resource_type = '{table}' AND resource_id = NEW.id; END; END IF; END"
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


def _entry(searched: Searched) -> str:
    """What a trigger declares: `entry`, the content of the entry of its row.

    To read a JSON document that is empty, and to call a stored function that would only lower a text, takes longer
    than the rest of the entry.
    """
    documents: dict[str, str] = {}

    def variable(column: str, form: Form) -> str:
        name = f"text_{len(documents)}"
        documents[name] = f"IF {column} NOT IN ('[]', '{{}}') THEN SET {name} = {_text_of_json(column, form)}; END IF;"
        return name

    values = searched.values("NEW", variable)
    return " ".join(
        [
            *(f"DECLARE {name} {_LONG_TEXT};" for name in ("entry", *documents)),
            *documents.values(),
            f"SET entry = CONCAT_WS({_LINE}, {values});",
            "IF LENGTH(entry) > CHAR_LENGTH(entry) THEN SET entry = search_text(entry);",
            "ELSE SET entry = LOWER(entry); END IF;",
        ]
    )


def _text_of_json(column: str, form: Form) -> str:
    members = {
        Form.LIST: f"""JSON_TABLE({column}, '$[*]' COLUMNS ("value" {_TEXT} PATH '$'))""",
        Form.OBJECTS: f"""JSON_TABLE({column}, '$[*].*' COLUMNS ("value" {_TEXT} PATH '$'))""",
        Form.ATTRIBUTES: f"""JSON_TABLE({column}, '$.*' COLUMNS ("value" {_TEXT} PATH '$'))""",
    }
    return f"(SELECT GROUP_CONCAT(member.value SEPARATOR '\n') FROM {members[form]} AS member)"
