"""How Alembic creates tables on MySQL, and says what MariaDB's statements are there.

MySQL has no sequences. Objects, whose ids are known before they are written, have a table that numbers rows and has
none (`servers_id_seq`), and a function of the same name that gives its next number. Other tables number their own rows.
"""

# ruff: noqa: S608 - the statements consist of names of ours

import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from app.core.db.dialects.mariadb.compilers import sequence_of
from app.core.db.dialects.mariadb.servers import MYSQL
from app.core.db.dialects.mysql.collation import collated
from app.core.db.dialects.mysql.statements import is_numbered_ahead
from migrations.dialects import mariadb_tables

_CONSTRAINTS = sa.text(
    "SELECT 'FOREIGN KEY', constraint_name FROM information_schema.key_column_usage WHERE table_schema = database() "
    "AND table_name = :name AND column_name = :column AND referenced_table_name IS NOT NULL UNION ALL "
    "SELECT 'CONSTRAINT', constraint_name FROM information_schema.table_constraints AS named "
    "JOIN information_schema.check_constraints AS checked USING (constraint_schema, constraint_name) "
    "WHERE constraint_schema = database() AND table_name = :name "
    "AND instr(check_clause, concat('`', :column, '`')) > 0"
)
_OTHERWISE = {
    # A group of a regular expression.
    r"\1": "$1",
    # This table numbers its own rows.
    """
        SET chain = nextval(audit_event_chains_id_seq);
        INSERT INTO audit_event_chains (id, length) VALUES (chain, places);""": """
        INSERT INTO audit_event_chains (length) VALUES (places);
        SET chain = LAST_INSERT_ID();""",
    # In a function, a text that is no address is an error instead of NULL.
    "SET packed = INET6_ATON(SUBSTRING_INDEX(t, '%', 1));": """
    IF IS_IPV6(SUBSTRING_INDEX(t, '%', 1)) THEN
        SET packed = INET6_ATON(SUBSTRING_INDEX(t, '%', 1));
    END IF;""",
}
_JSON_TYPE = re.compile(r"JSON_TYPE\(\w+\)")
_REPLACES_TRIGGER = re.compile(r"CREATE OR REPLACE TRIGGER (\w+)")
_COPIES_KEY = re.compile(r"CREATE TABLE (\w+) \((?P<constraint>CONSTRAINT .*)\) ENGINE=InnoDB (?P<query>SELECT .*)")


class Impl(mariadb_tables.Impl):
    """Takes the place of Alembic's own for MySQL."""

    __dialect__ = "mysql"

    constraints = _CONSTRAINTS

    def create_sequence(self, table: sa.Table) -> None:
        """Create what reserves numbers for the rows of a table; only objects have their numbers before their rows."""

    def create_table(self, table: sa.Table, **options: Any) -> None:
        super().create_table(table, **options)
        if is_numbered_ahead(table):
            for statement in _numbering(table.name):
                self._exec(sa.text(statement))

    def drop_sequence(self, table: str) -> None:
        """Drop what reserved numbers for the rows of a table."""
        self._exec(sa.text(f"DROP FUNCTION IF EXISTS {sequence_of(table)}"))
        self._exec(sa.text(f"DROP TABLE IF EXISTS {sequence_of(table)}"))

    def _exec(self, construct: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(construct, str | sa.TextClause):
            return super()._exec(construct, *arguments, **options)
        for statement in translated(str(getattr(construct, "text", construct))):
            super()._exec(sa.text(statement), *arguments, **options)
        return None


def translated(statement: str) -> tuple[str, ...]:
    """What MariaDB's statement is on MySQL."""
    statement = collated(statement)
    for text, other in _OTHERWISE.items():
        statement = statement.replace(text, other)
    # Its result has the collation `binary`, the word beside it another one, and MySQL refuses to compare them.
    statement = _JSON_TYPE.sub(rf"\g<0> COLLATE {MYSQL.collation}", statement)
    if match := _REPLACES_TRIGGER.match(statement):
        return f"DROP TRIGGER IF EXISTS {match[1]}", f"CREATE TRIGGER {match[1]}{statement[match.end() :]}"
    if match := _COPIES_KEY.match(statement):
        return (
            f"CREATE TABLE {match[1]} ENGINE=InnoDB {match['query']}",
            f"ALTER TABLE {match[1]} ADD {match['constraint']}",
        )
    return (statement,)


def _numbering(table: str) -> Iterator[str]:
    """What creates the sequence of a table, and numbers the rows that are inserted without an id."""
    name = sequence_of(table)
    yield f"CREATE TABLE {name} (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB"
    # With the binary log, the server takes no function that is not called deterministic; the log has rows.
    yield (
        f"CREATE FUNCTION {name}() RETURNS BIGINT DETERMINISTIC MODIFIES SQL DATA BEGIN "
        f"DECLARE number BIGINT; INSERT INTO {name} VALUES (NULL); SET number = LAST_INSERT_ID(); "
        f"DELETE FROM {name} WHERE id = number; RETURN number; END"
    )
    yield (
        f"CREATE TRIGGER {table}_numbered BEFORE INSERT ON {table} FOR EACH ROW BEGIN "
        f"IF COALESCE(NEW.id, 0) = 0 THEN SET NEW.id = {name}(); END IF; END"
    )
