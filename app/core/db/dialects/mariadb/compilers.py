"""How SQLAlchemy writes statements and tables for MariaDB, and ends savepoints."""

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql.base import MySQLCompiler, MySQLDDLCompiler, MySQLTypeCompiler
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.sql import operators

from app.core.db.dialects.mariadb.errors import DOES_NOT_EXIST, number_of
from app.core.db.dialects.mariadb.folded_columns import hidden_column
from app.core.db.dialects.mariadb.returning import RETURNING
from app.core.db.dialects.mariadb.streaming import StreamingCursor


class Compiler(MySQLCompiler):
    """Writes what the server lacks in another way."""

    def returning_clause(self, stmt: Any, returning_cols: Any, **options: Any) -> str:
        text: str = super().returning_clause(stmt, returning_cols, **options)
        if self.returns_rows(stmt):
            return text
        # The cursor makes several statements of it.
        key = ", ".join(self.process(column) for column in stmt.table.primary_key)
        return f"{RETURNING}{key}*/ {text}"

    def returns_rows(self, statement: Any) -> bool:
        """Whether the server itself can return the rows of such a statement."""
        return not statement.is_update

    def visit_unary(
        self, unary: Any, add_to_result_map: Any = None, result_map_targets: Any = (), **options: Any
    ) -> str:
        """NULLS FIRST and NULLS LAST: by whether there is a value, and then by it."""
        if unary.modifier not in (operators.nulls_first_op, operators.nulls_last_op):
            text: str = super().visit_unary(unary, add_to_result_map, result_map_targets, **options)
            return text
        ordered = unary.element
        by = ordered.element if isinstance(ordered, sa.UnaryExpression) and ordered.modifier else ordered
        first = " DESC" if unary.modifier is operators.nulls_first_op else ""
        return f"{self.process(by, **options)} IS NULL{first}, {self.process(ordered, **options)}"

    def visit_fold_func(self, function: Any, **options: Any) -> str:
        return self._folded("fold", function, options)

    def visit_natural_key_func(self, function: Any, **options: Any) -> str:
        return self._folded("natural_key", function, options)

    def visit_address_key_func(self, function: Any, **options: Any) -> str:
        return self._folded("address_key", function, options)

    def _folded(self, name: str, function: Any, options: Any) -> str:
        """A call of a stored function, or the column that has its value already."""
        (argument,) = function.clauses
        text: str = self.process(argument, **options)
        return hidden_column(name, argument, text) or f"{name}({text})"

    def visit_in_op_binary(self, binary: Any, operator: Any, **options: Any) -> str:
        return self._within("IN", binary, options)

    def visit_not_in_op_binary(self, binary: Any, operator: Any, **options: Any) -> str:
        return f"({self._within('NOT IN', binary, options)})"

    def _within(self, operator: str, binary: Any, options: Any) -> str:
        left, right = (self.process(side, **options) for side in (binary.left, binary.right))
        chosen = getattr(binary.right, "element", binary.right)
        if getattr(chosen, "_limit_clause", None) is not None:
            # A subquery of IN may have no LIMIT, but one inside of it may.
            right = f"(SELECT * FROM {right} AS limited)"  # noqa: S608 - compiled by SQLAlchemy
        return f"{left} {operator} {right}"


class DdlCompiler(MySQLDDLCompiler):
    """Numbers rows by sequences: an id is known before its row is written."""

    def get_column_specification(self, column: Any, **options: Any) -> str:
        text: str = super().get_column_specification(column, **options)
        return text.replace("AUTO_INCREMENT", f"DEFAULT nextval({sequence_of(column.table.name)})")

    def post_create_table(self, table: Any) -> str:
        return "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin"


class TypeCompiler(MySQLTypeCompiler):
    """Times in microseconds, texts and files of any length."""

    def visit_DATETIME(self, type_: Any, **options: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return "DATETIME(6)"

    def visit_TEXT(self, type_: Any, **options: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return "LONGTEXT"

    def visit_large_binary(self, type_: Any, **options: Any) -> str:
        return "LONGBLOB"


class MariaDB(MariaDBDialect, MySQLDialect_pymysql):
    """SQLAlchemy's dialect of MariaDB by PyMySQL, with our compilers.

    It becomes that of MySQL with the first connection to such a server: the URLs of both look alike.
    """

    supports_statement_cache = True
    update_returning = True
    favor_returning_over_lastrowid = True
    # Takes the place of a property that names PyMySQL's own.
    supports_server_side_cursors = True
    _sscursor = StreamingCursor
    statement_compiler = Compiler  # type: ignore[assignment]
    ddl_compiler = DdlCompiler
    type_compiler_cls = TypeCompiler

    def _set_mariadb(self, is_mariadb: Any, server_version_info: tuple[int, ...]) -> None:
        if server_version_info and not is_mariadb:
            import_module("app.core.db.dialects.mysql.compilers").adopt(self)
        else:
            super()._set_mariadb(is_mariadb, server_version_info)

    def on_connect(self) -> Any:
        """None: the connection has set our collation, which `SET NAMES` of SQLAlchemy's drivers would undo."""
        return None

    def do_rollback_to_savepoint(self, connection: sa.Connection, name: str) -> None:
        try:
            super().do_rollback_to_savepoint(connection, name)
        except sa.exc.DBAPIError as error:
            # A deadlock has rolled back the whole transaction: the caller is told of it, and not of the savepoint.
            if error.orig is None or number_of(error.orig) != DOES_NOT_EXIST:
                raise


def sequence_of(table: str) -> str:
    """The sequence that numbers the rows of a table."""
    return f"{table}_id_seq"


def register() -> None:
    """Have SQLAlchemy take this dialect for URLs of MariaDB."""
    sa.dialects.registry.register("mariadb.pymysql", __name__, MariaDB.__name__)
