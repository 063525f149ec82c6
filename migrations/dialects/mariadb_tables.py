"""How Alembic creates tables and indexes on MariaDB: with sequences, and with columns in place of expressions.

An index of an expression is one of an invisible column: `fold(name)` of `name__fold`, which triggers fill, because no
generated column may call a stored function; `coalesce(parent, 0)` and the condition of a unique index of generated ones.
"""

# ruff: noqa: S608 - the statements consist of names of ours

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.ddl.mysql import MariaDBImpl

from app.core.db.dialects.mariadb.compilers import sequence_of
from app.core.db.dialects.mariadb.folded_columns import LENGTHS, SUFFIXES
from migrations.dialects.mariadb_folds import filling, removal

DOCUMENT_LENGTH = 255
"""Characters of a JSON document that are indexed."""
NO_TRUNCATE = "_no_truncate"
"""What follows the name of a table in that of the one that keeps it from being truncated."""
_CONSTRAINTS = sa.text(
    "SELECT 'FOREIGN KEY', constraint_name FROM information_schema.key_column_usage WHERE table_schema = database() "
    "AND table_name = :name AND column_name = :column AND referenced_table_name IS NOT NULL UNION ALL "
    "SELECT 'CONSTRAINT', constraint_name FROM information_schema.check_constraints WHERE level = 'Table' "
    "AND constraint_schema = database() AND table_name = :name AND instr(check_clause, concat('`', :column, '`')) > 0"
)
"""The constraints of a table that a column is in: what each is, and its name."""


class Impl(MariaDBImpl):
    """Takes the place of Alembic's own for MariaDB."""

    __dialect__ = "mariadb"

    constraints = _CONSTRAINTS

    def create_table(self, table: sa.Table, **options: Any) -> None:
        if table.autoincrement_column is not None:
            self.create_sequence(table)
        super().create_table(table, **options)

    def create_sequence(self, table: sa.Table) -> None:
        """Create what numbers the rows of a table, before the table."""
        self._exec(sa.text(f"CREATE SEQUENCE {sequence_of(table.name)}"))

    def drop_table(self, table: sa.Table, **options: Any) -> None:
        self._exec(sa.text(f"DROP TABLE IF EXISTS {table.name}{NO_TRUNCATE}"))
        super().drop_table(table, **options)
        self.drop_sequence(table.name)

    def drop_sequence(self, table: str) -> None:
        """Drop what numbered the rows of a table."""
        self._exec(sa.text(f"DROP SEQUENCE IF EXISTS {sequence_of(table)}"))

    def drop_column(self, table_name: str, column: sa.Column[Any], **options: Any) -> None:
        """Drop a column with its constraints, as the other databases do, and with the columns that are made of it."""
        self._drop_hidden(table_name, column.name)
        for kind, name in self.connection.execute(self.constraints, {"name": table_name, "column": column.name}).all():
            self._exec(sa.text(f"ALTER TABLE {table_name} DROP {kind} {name}"))
        super().drop_column(table_name, column, **options)

    def _drop_hidden(self, table: str, column: str) -> None:
        """Drop the columns that are made of a column, and fill only those of other columns from now on."""
        hidden = [name for name in _columns(self.connection, table) if _is_made_of_another(name)]
        # A condition of a folded text goes before that.
        dropped = sorted((name for name in hidden if name.startswith(f"{column}__")), key=len, reverse=True)
        if any(name.endswith(tuple(SUFFIXES.values())) for name in dropped):
            left = [name for name in hidden if name not in dropped and name.endswith(tuple(SUFFIXES.values()))]
            triggers = filling(table, left, [], None) if left else removal(table)
            for statement in triggers:
                self._exec(sa.text(statement.replace(":", "\\:")))
        for name in dropped:
            self._exec(sa.text(f'ALTER TABLE "{table}" DROP COLUMN "{name}"'))

    def correct_for_autogen_constraints(self, conn_unique: Any, conn_indexes: Any, *metadata: Any) -> None:
        """Compare an index of an expression by its name alone: the database has one of an invisible column."""
        metadata_unique, metadata_indexes = metadata
        hidden = {index.name for index in metadata_indexes if _is_hidden(index)}
        existing_names = {index.name for index in conn_indexes}
        for indexes in (conn_indexes, metadata_indexes):
            indexes.difference_update([index for index in indexes if index.name in hidden & existing_names])
        super().correct_for_autogen_constraints(conn_unique, conn_indexes, metadata_unique, metadata_indexes)

    def create_index(self, index: sa.Index, **options: Any) -> None:
        """Note an index: those of a table are created by one statement, before the next statement of another kind."""
        assert index.table is not None
        self._pending.setdefault(index.table.name, []).append(index)

    def _exec(self, *arguments: Any, **options: Any) -> Any:
        pending, self._pending = self._pending, {}
        for table, indexes in pending.items():
            self._create_indexes(table, indexes)
        return super()._exec(*arguments, **options)

    @property
    def _pending(self) -> dict[str, list[sa.Index]]:
        return self.__dict__.setdefault("pending_indexes", {})

    @_pending.setter
    def _pending(self, pending: dict[str, list[sa.Index]]) -> None:
        self.__dict__["pending_indexes"] = pending

    def _create_indexes(self, table: str, indexes: Sequence[sa.Index]) -> None:
        existing = _columns(self.connection, table)
        added: dict[str, str] = {}
        long = frozenset(name for name, kind in existing.items() if kind == "longtext")
        listed = [_definition(index, added, long) for index in indexes]
        added = {name: kind for name, kind in added.items() if name not in existing}
        columns = [f'ADD COLUMN "{name}" {kind} INVISIBLE' for name, kind in added.items()]
        folded = [name for name in (*existing, *added) if name.endswith(tuple(SUFFIXES.values()))]
        if not any(name in added for name in folded):
            self._alter(table, [*columns, *listed])
            return
        # The rows are filled before an index says which of them are alike.
        self._alter(table, columns)
        for statement in filling(table, folded, [name for name in folded if name in added], self._guards(table)):
            self._exec(sa.text(statement.replace(":", "\\:")))
        self._alter(table, listed)

    def _alter(self, table: str, changes: Sequence[str]) -> None:
        self._exec(sa.text(f'ALTER TABLE "{table}" {", ".join(changes)}'))

    def _guards(self, table: str) -> Mapping[str, str] | None:
        """The triggers that may refuse changes of a table's rows, and what each does; None where there are no rows."""
        query = sa.text(
            "SELECT trigger_name AS name, action_statement AS action FROM information_schema.triggers "
            "WHERE trigger_schema = database() AND event_object_table = :name AND event_manipulation = 'UPDATE' "
            "AND action_timing = 'BEFORE' AND trigger_name NOT LIKE '%_folds_changed'"
        )
        if not self.connection.scalar(sa.text(f'SELECT EXISTS (SELECT 1 FROM "{table}")')):
            return None
        return {row.name: row.action for row in self.connection.execute(query, {"name": table})}


def _definition(index: sa.Index, added: dict[str, str], long: Collection[str]) -> str:
    """What creates an index in an ALTER TABLE; the columns that it needs are put into `added`, with their kinds.

    `long` columns are indexed by their beginning.
    """
    columns = [_column_of(each, added) for each in index.expressions]
    where = index.dialect_options["postgresql"]["where"]
    if index.unique and where is not None:
        name = f"{columns[0]}__where"
        added[name] = f"BIGINT AS (CASE WHEN {where} THEN {columns[0]} END) VIRTUAL"
        columns[0] = name
    listed = ", ".join(f'"{name}"({DOCUMENT_LENGTH})' if name in long else f'"{name}"' for name in columns)
    return f'ADD {"UNIQUE " if index.unique else ""}INDEX "{index.name}" ({listed})'


def _column_of(expression: Any, added: dict[str, str]) -> str:
    # Alembic's own class of an expression has it as `text`.
    text = getattr(expression, "text", None)
    if text is None:
        return str(expression.name)
    match = re.fullmatch(r"(\w+)\((\w+)(?:, 0)?\)", str(text))
    assert match is not None, str(text)
    function, column = match[1], match[2]
    if function == "coalesce":
        added[f"{column}__or_0"] = f"BIGINT AS (coalesce({column}, 0)) VIRTUAL"
        return f"{column}__or_0"
    added[f"{column}{SUFFIXES[function]}"] = f"VARCHAR({LENGTHS[function]})"
    return f"{column}{SUFFIXES[function]}"


def _is_hidden(index: sa.Index) -> bool:
    return index.dialect_options["postgresql"]["where"] is not None or any(
        isinstance(each, sa.TextClause) for each in index.expressions
    )


def _is_made_of_another(name: str) -> bool:
    return name.endswith(("__or_0", "__where", *SUFFIXES.values()))


def _columns(connection: Any, table: str) -> dict[str, str]:
    """The kinds of a table's columns, by their names."""
    query = sa.text(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = database() AND table_name = :name ORDER BY ordinal_position"
    )
    return dict(connection.execute(query, {"name": table}).all())
