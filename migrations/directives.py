"""Rewriting of generated migrations: numbers that sort, guards of audited tables, text indexes on PostgreSQL only."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from app.catalog import CATALOG
from app.core.audit.declaration import Audited
from app.core.db.models import Base
from app.core.db.search_entries import Form, Searched
from app.resource.query.searched_fields import is_searched, searched_of

directives = Rewriter()


class CodeLine(ops.MigrateOperation):
    """A line of code as it is written into the migration."""

    def __init__(self, line: str) -> None:
        self.line = line

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("code", self.line)


def rewrite(context: MigrationContext, revision: Any, scripts: list[ops.MigrationScript]) -> None:
    """Rewrite a generated migration in place; what `process_revision_directives` of Alembic calls."""
    directives(context, revision, scripts)
    for script in scripts:
        script.rev_id = next_number(context.script.get_heads() if context.script else ())


def next_number(heads: Sequence[str]) -> str:
    """The number after the newest migration, with four digits, so that file names sort in the order of migrations."""
    return f"{max((int(head) for head in heads), default=0) + 1:04}"


@renderers.dispatch_for(CodeLine)
def _render(context: Any, operation: CodeLine) -> str:
    if operation.line.startswith("guards."):
        context.imports.add("from migrations import guards")
    return operation.line


@directives.rewrites(ops.CreateTableOp)
def _guard_audited(_context: Any, _revision: Any, operation: ops.CreateTableOp) -> Any:
    """A table of audited rows refuses changes that have no audit record."""
    columns = _audited_tables().get(operation.table_name)
    if columns is None:
        return operation
    unversioned = tuple(column.name for column in columns if not column.info.get("audit", True))
    argument = f", unversioned={unversioned!r}" if unversioned else ""
    guards = [CodeLine(f'guards.guard_changes("{operation.table_name}"{argument})')]
    resource = CATALOG.get(operation.table_name)
    if resource is not None and is_searched(resource):
        columns, is_private = searched_arguments(searched_of(resource))
        private = ", is_private=True" if is_private else ""
        guards.append(CodeLine(f"guards.keep_search_entries({operation.table_name!r}, {columns!r}{private})"))
    return [operation, *guards]


def searched_arguments(searched: Searched) -> tuple[tuple[str, ...], bool]:
    """The columns that are searched of a table as `guards.keep_search_entries` takes them, and whether it is private."""
    columns = ((name, "" if form is Form.TEXT else f":{form.value}") for name, form in searched.columns)
    return tuple(name + form for name, form in columns), searched.is_private


@directives.rewrites(ops.CreateIndexOp)
def _create_text_index(_context: Any, _revision: Any, operation: ops.CreateIndexOp) -> Any:
    if operation.kw.get("postgresql_using") != "gin":
        return operation
    (expression,) = operation.columns
    where = operation.kw.get("postgresql_where")
    arguments = [operation.index_name, operation.table_name, str(expression)]
    condition = f", where={str(where)!r}" if where is not None else ""
    return CodeLine(f"guards.create_text_index({', '.join(map(repr, arguments))}{condition})")


@directives.rewrites(ops.DropIndexOp)
def _drop_text_index(_context: Any, _revision: Any, operation: ops.DropIndexOp) -> Any:
    if operation.kw.get("postgresql_using") != "gin":
        return operation
    return CodeLine(f'op.execute("DROP INDEX IF EXISTS {operation.index_name}")')


def _audited_tables() -> dict[str, Sequence[sa.Column[Any]]]:
    tables = (sa.inspect(each.class_).local_table for each in Base.registry.mappers if issubclass(each.class_, Audited))
    return {table.name: table.columns for table in tables}
