"""What a generated migration also does, so that it is right on both databases and nothing is left to write by hand."""

from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops

from app.core.audit.recorder import Audited
from app.core.db.models import Base

directives = Rewriter()


class Written(ops.MigrateOperation):
    """A line of the migration as it will stand there."""

    def __init__(self, line: str) -> None:
        self.line = line

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("written", self.line)


@renderers.dispatch_for(Written)
def _render(context: Any, operation: Written) -> str:
    if "guards." in operation.line:
        context.imports.add("from migrations import guards")
    return operation.line


@directives.rewrites(ops.CreateTableOp)
def _guard_audited(_context: Any, _revision: Any, operation: ops.CreateTableOp) -> Any:
    """A table of audited rows refuses whatever slips past the audit log."""
    if operation.table_name not in _audited_tables():
        return operation
    return [operation, Written(f'guards.guard_changes("{operation.table_name}")')]


@directives.rewrites(ops.CreateIndexOp)
def _create_on_postgresql(_context: Any, _revision: Any, operation: ops.CreateIndexOp) -> Any:
    """SQLite has no index of texts."""
    if operation.kw.get("postgresql_using") != "gin":
        return operation
    (expression,) = operation.columns
    return Written(f'guards.create_text_index("{operation.index_name}", "{operation.table_name}", {str(expression)!r})')


@directives.rewrites(ops.DropIndexOp)
def _drop_on_postgresql(_context: Any, _revision: Any, operation: ops.DropIndexOp) -> Any:
    if operation.kw.get("postgresql_using") != "gin":
        return operation
    return Written(f'op.execute("DROP INDEX IF EXISTS {operation.index_name}")')


def _audited_tables() -> set[str]:
    mappers = Base.registry.mappers
    return {sa.inspect(each.class_).local_table.name for each in mappers if issubclass(each.class_, Audited)}
