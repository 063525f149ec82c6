"""How SQLAlchemy writes statements and tables for MySQL, where it is not as for MariaDB."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from app.core.db.dialects.mariadb import compilers as mariadb
from app.core.db.dialects.mariadb.servers import MYSQL


class Compiler(mariadb.Compiler):
    """Writes what MySQL lacks in another way."""

    def returns_rows(self, statement: Any) -> bool:
        return False

    def visit_sequence(self, sequence: sa.Sequence, **options: Any) -> str:
        return f"{self.preparer.format_sequence(sequence)}()"

    def visit_update(self, update_stmt: Any, visiting_cte: Any = None, **options: Any) -> str:
        """Set each column after those that are computed from it: MySQL would compute them from its new value."""
        if update_stmt._values and not update_stmt._maintain_values_ordering:
            update_stmt = update_stmt._clone()
            update_stmt._values = dict(_ordered(update_stmt._values))
            update_stmt._maintain_values_ordering = True
        text: str = super().visit_update(update_stmt, visiting_cte, **options)
        return text

    def visit_select(self, select_stmt: Any, *arguments: Any, **options: Any) -> str:
        """Read the table that a statement changes from a table of its own: MySQL does not read it otherwise."""
        changing = self.stack[0]["selectable"] if len(self.stack) == 1 else None
        text: str = super().visit_select(select_stmt, *arguments, **options)  # type: ignore[no-untyped-call]
        if isinstance(changing, sa.Insert | sa.Update | sa.Delete) and changing.table in select_stmt.get_final_froms():
            return f"SELECT /*+ NO_MERGE(own) */ * FROM ({text}) AS own"  # noqa: S608 - compiled by SQLAlchemy
        if self.stack and "\nFROM JSON_TABLE(" in text:
            # As a semi-join it may be read before the row whose column it opens.
            return text.replace("SELECT ", "SELECT /*+ SUBQUERY(INTOEXISTS) */ ", 1)
        return text


def _ordered(values: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """The values of an UPDATE, none of a column that a later one reads. Raises ValueError if there is no such order."""
    rest = {str(getattr(column, "name", column)): (column, value, _read_by(value)) for column, value in values.items()}
    while rest:
        free = [name for name in rest if not any(name in read for other, (*_, read) in rest.items() if other != name)]
        if not free:
            raise ValueError(f"These columns are computed from each other: {', '.join(rest)}.")
        for name in free:
            column, value, _ = rest.pop(name)
            yield column, value


def _read_by(value: Any) -> set[str]:
    """The names of the columns that a value is computed from."""
    if not isinstance(value, sa.ClauseElement):
        return set()
    return {each.name for each in visitors.iterate(value) if isinstance(each, sa.Column)}


class DdlCompiler(mariadb.DdlCompiler):
    """Tables that number their rows."""

    def get_column_specification(self, column: Any, **options: Any) -> str:
        text: str = super(mariadb.DdlCompiler, self).get_column_specification(column, **options)
        if not isinstance(column.type, sa.JSON):
            return text
        # As text, JSON stays as it was written; MySQL's own type has other numbers and another order.
        return f"{text} CHECK (json_valid({self.preparer.format_column(column)}))"

    def get_column_default_string(self, column: Any) -> str | None:
        text: str | None = super().get_column_default_string(column)
        # A long text takes a default only as an expression.
        return f"({text})" if text and isinstance(column.type, sa.JSON | sa.Text) else text

    def post_create_table(self, table: Any) -> str:
        return f"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={MYSQL.collation}"


class TypeCompiler(mariadb.TypeCompiler):
    """JSON as text."""

    def visit_JSON(self, type_: Any, **options: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return "LONGTEXT"


def adopt(dialect: mariadb.MariaDB) -> None:
    """Make the dialect that of MySQL, before the first statement is compiled."""
    dialect.name = MYSQL.name
    dialect.is_mariadb = False
    dialect.statement_compiler = Compiler
    dialect.ddl_compiler = DdlCompiler
    dialect.type_compiler = dialect.type_compiler_instance = TypeCompiler(dialect)
    dialect.identifier_preparer = dialect.preparer(dialect)
    # A sequence is a table and a function here, see the migrations.
    dialect.supports_sequences = True
    dialect.insert_returning = dialect.delete_returning = True
    # A row each: several would not say which id is whose.
    dialect.insertmanyvalues_page_size = 1
