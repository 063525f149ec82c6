"""Alembic environment: runs on the application's engine, one transaction per migration."""

import warnings
from typing import Any

import click
import sqlalchemy as sa
from alembic import context
from alembic.migration import MigrationContext
from alembic.util import CommandError
from flask import current_app

from app.core.db.dialects.registry import dialect_of
from app.core.db.models import Base
from app.core.db.schema import connection_problem, missing_file_problem, newer_schema_problem
from migrations import guards, running
from migrations.directives import rewrite

# Alembic warns on every run about each index that it cannot compare: expressions and GIN indexes.
_INDEX_WARNINGS = (
    "autogenerate skipping metadata-specified expression-based index",
    "Skipped unsupported reflection of expression-based index",
    'Expression #1 "(?s:.*)" in index',
    "Can't validate argument 'dialect_options'",
)


def render_type(kind: str, item: Any, autogenerate: Any) -> str | bool:
    """Render our own types as the database types behind them: a migration must not change when they do."""
    if kind != "type":
        return False
    if isinstance(item, sa.types.TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    if isinstance(item, sa.BigInteger) and item._variant_mapping:
        return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    if isinstance(item, sa.JSON):
        autogenerate.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


def run() -> None:
    if context.is_offline_mode():
        context.configure(
            url=current_app.config["SQLALCHEMY_DATABASE_URI"],
            target_metadata=Base.metadata,
            literal_binds=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = current_app.extensions["sqlalchemy"].engine
    refuse(engine)
    with running.one_at_a_time(engine), engine.connect() as connection:
        running.without_blocking(connection, lambda: migrate(connection))


def refuse(engine: sa.Engine) -> None:
    """Raise CommandError, whose message is all that `flask db` prints, for a database that cannot be migrated."""
    command = click.get_current_context(silent=True)
    is_reader = command and command.parent and command.parent.info_name == "db" and command.info_name != "upgrade"
    if is_reader and (problem := missing_file_problem(engine)):
        raise CommandError(problem)
    try:
        with engine.connect().execution_options(access="read") as connection:
            problem = dialect_of(engine).connections.settings_problem(connection) or newer_schema_problem(
                MigrationContext.configure(connection).get_current_heads()
            )
    except sa.exc.DBAPIError as error:
        problem = connection_problem(error, engine)
    if problem:
        raise CommandError(problem)


def migrate(connection: sa.Connection) -> None:
    own = guards.module_of(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_item=render_type,
        process_revision_directives=rewrite,
        transaction_per_migration=True,
        include_object=lambda _item, name, kind, _reflected, _other: own.is_compared(str(name), kind),
    )
    with context.begin_transaction(), warnings.catch_warnings():
        for message in _INDEX_WARNINGS:
            warnings.filterwarnings("ignore", message)
        context.run_migrations()


run()
