"""How Alembic reaches the database: through the application's engine, one transaction per migration."""

import warnings
from typing import Any

import sqlalchemy as sa
from alembic import context
from flask import current_app

from app.core.db.models import Base
from migrations import guards
from migrations.directives import directives

# What Alembic says of each index that it cannot compare, every time: of expressions, and of those of texts.
_UNREAD = (
    "autogenerate skipping metadata-specified expression-based index",
    "Skipped unsupported reflection of expression-based index",
    'Expression #1 "(?s:.*)" in index',
    "Can't validate argument 'dialect_options'",
)


def render_type(kind: str, item: Any, autogenerate: Any) -> str | bool:
    """Write our own types as what they are in the database: a migration must not change when they do."""
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
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            render_item=render_type,
            process_revision_directives=directives,
            transaction_per_migration=True,
            # SQLite cannot say what an index's expression was; PostgreSQL compares them.
            include_object=lambda item, name, kind, _reflected, _other: (
                not (kind == "index" and connection.dialect.name == "sqlite") and name != guards.EXPECTED
            ),
        )
        with context.begin_transaction(), warnings.catch_warnings():
            for unread in _UNREAD:
                warnings.filterwarnings("ignore", unread)
            context.run_migrations()


run()
