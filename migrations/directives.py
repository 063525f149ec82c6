"""Rewriting of generated migrations: numbers that sort, guards of audited tables, text indexes on PostgreSQL only."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from app.catalog import CATALOG
from app.core.audit.declaration import Audited
from app.core.db.counters.declaration import Counted
from app.core.db.counters.models import counted_models, counted_of
from app.core.db.models import Base
from app.core.db.search.declaration import Form, Searched
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
    module = operation.line.partition(".")[0]
    if module in {"columns", "guards"}:
        context.imports.add(f"from migrations import {module}")
    return operation.line


@directives.rewrites(ops.CreateTableOp)
def _guard_table(_context: Any, _revision: Any, operation: ops.CreateTableOp) -> Any:
    """A table of audited rows refuses changes that have no audit record; its objects can be found, and are counted."""
    table = operation.table_name
    if table not in _audited_tables():
        return operation
    guard = _guard("guard_changes", table, _unversioned(table))
    numbers = CodeLine(f"guards.number_commits({table!r})")
    return [operation, guard, *_keep_entries(table), *_keep_counts(table), numbers]


@directives.rewrites(ops.DropTableOp)
def _forget_table(_context: Any, _revision: Any, operation: ops.DropTableOp) -> Any:
    table = operation.table_name
    numbers = [CodeLine(f"guards.forget_commits({table!r})")] if table in _audited_tables() else []
    return [*_forget_counts(table), *_forget_entries(table), *numbers, operation]


@directives.rewrites(ops.ModifyTableOps)
def _guard_columns(_context: Any, _revision: Any, operation: ops.ModifyTableOps) -> Any:
    """The triggers of a table name its columns: they are created anew after one is added and before one is dropped."""
    table = operation.table_name
    added = {each.column.name for each in operation.ops if isinstance(each, ops.AddColumnOp)}
    dropped = {each.column_name for each in operation.ops if isinstance(each, ops.DropColumnOp)}
    operation.ops = [each for each in operation.ops if _column_of_reference(each) not in added | dropped]
    return [*_renewed_guards(table, dropped, without=dropped), operation, *_renewed_guards(table, added)]


def _column_of_reference(operation: ops.MigrateOperation) -> str | None:
    """The column of a foreign key that is created or dropped; a column that is added or dropped brings its own along."""
    if isinstance(operation, ops.DropConstraintOp) and operation.constraint_type == "foreignkey":
        return str(operation.constraint_name).removeprefix(f"fk_{operation.table_name}_")
    return operation.local_cols[0] if isinstance(operation, ops.CreateForeignKeyOp) else None


@directives.rewrites(ops.AddColumnOp)
def _add_constrained_column(_context: Any, _revision: Any, operation: ops.AddColumnOp) -> Any:
    column, prefix = operation.column, f'"{operation.table_name}", "{operation.column.name}"'
    default = column.default.arg.value if column.default is not None and column.default.is_scalar else None
    if isinstance(column.type, sa.Enum) and (column.nullable or default is not None):
        argument = f", default={default!r}" if not column.nullable else ""
        name = f"ck_{operation.table_name}_{column.type.name}"
        return CodeLine(f'columns.add_choice({prefix}, "{name}", {tuple(column.type.enums)!r}{argument})')
    if column.foreign_keys:
        (reference,) = column.foreign_keys
        argument = f", ondelete={reference.ondelete!r}" if reference.ondelete else ""
        return CodeLine(f'columns.add_reference({prefix}, "{reference.column.table.name}"{argument})')
    return operation


def _renewed_guards(table: str, columns: set[str], *, without: Collection[str] = ()) -> Iterator[CodeLine]:
    """The triggers that name `columns`, as they are `without` some; a column that the model lost may be among them."""
    unversioned = _unversioned(table)
    if columns and unversioned:
        yield _guard("guard_versions", table, (*unversioned, *sorted(set(without).difference(unversioned))))
    searched = _searched(table)
    if searched and any(name in searched or name not in Base.metadata.tables[table].columns for name in columns):
        yield from (*_forget_entries(table), *_keep_entries(table, without=without))
    if columns.intersection(_counted(table).followed):
        yield from (*_forget_counts(table), *_keep_counts(table, without=without))


def _keep_counts(table: str, *, without: Collection[str] = ()) -> Iterator[CodeLine]:
    counters = [counter for counter in _counted(table).counters if not counter.has_any(without)]
    if counters:
        yield CodeLine(f"guards.keep_counts({table!r}, {Counted(table, tuple(counters)).arguments()!r})")


def _forget_counts(table: str) -> Iterator[CodeLine]:
    if _counted(table).counters:
        yield CodeLine(f"guards.forget_counts({table!r})")


def _counted(table: str) -> Counted:
    """The counters of a table; none if it has no model."""
    declared = (counted_of(model) for model in counted_models() if model.__tablename__ == table)
    return next(declared, Counted(table, ()))


def _keep_entries(table: str, *, without: Collection[str] = ()) -> Iterator[CodeLine]:
    if searched := _searched(table):
        columns = tuple(argument for name, argument in searched.items() if name not in without)
        private = ", is_private=True" if searched_of(CATALOG[table]).is_private else ""
        yield CodeLine(f"guards.keep_search_entries({table!r}, {columns!r}{private})")


def _forget_entries(table: str) -> Iterator[CodeLine]:
    if _searched(table):
        yield CodeLine(f"guards.forget_search_entries({table!r})")


def _searched(table: str) -> dict[str, str]:
    """The columns of a table that are searched, as `guards.keep_search_entries` takes them."""
    resource = CATALOG.get(table)
    return searched_arguments(searched_of(resource)) if resource and is_searched(resource) else {}


def searched_arguments(searched: Searched) -> dict[str, str]:
    """Each searched column, and how `guards.keep_search_entries` takes it."""
    return {name: name if form is Form.TEXT else f"{name}:{form.value}" for name, form in searched.columns}


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


def _guard(name: str, table: str, unversioned: Sequence[str]) -> CodeLine:
    argument = f", unversioned={tuple(unversioned)!r}" if unversioned else ""
    return CodeLine(f'guards.{name}("{table}"{argument})')


def _unversioned(table: str) -> tuple[str, ...]:
    columns = _audited_tables().get(table, ())
    return tuple(column.name for column in columns if not column.info.get("audit", True))


def _audited_tables() -> dict[str, Sequence[sa.Column[Any]]]:
    tables = (sa.inspect(each.class_).local_table for each in Base.registry.mappers if issubclass(each.class_, Audited))
    return {table.name: table.columns for table in tables}
