"""What `flask db migrate` writes for a new table is right as it stands."""

import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.migration import MigrationContext
from alembic.operations import ops
from flask import Flask

from app.core.db.unit_of_work import db
from app.imports.models import Import
from app.servers.models import Server
from migrations.directives import directives


def written(app: Flask, table: sa.Table) -> tuple[list[str], list[str]]:
    """The lines of a migration that adds a table, and of the way back."""
    made = [ops.CreateIndexOp.from_index(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    forth = ops.UpgradeOps([ops.CreateTableOp.from_table(table), ops.ModifyTableOps(table.name, made)])
    script = ops.MigrationScript("x", forth, forth.reverse())
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        directives(context, ("head",), [script])
        texts = [
            render_python_code(each, migration_context=context) for each in (script.upgrade_ops, script.downgrade_ops)
        ]
    up, down = ([line.strip() for line in text.splitlines()] for text in texts)
    return up, down


def test_a_table_of_audited_rows_is_guarded(app: Flask) -> None:
    up, _ = written(app, Server.__table__)
    assert 'guards.guard_changes("servers")' in up
    other, _ = written(app, Import.__table__)
    assert not any("guard" in line for line in other)


def test_an_index_of_texts_is_made_where_there_can_be_one(app: Flask) -> None:
    up, down = written(app, Server.__table__)
    (line,) = [line for line in up if "gin_trgm_ops" in line]
    assert line.startswith('guards.create_text_index("ix_servers_search_text", "servers", ')
    assert 'op.execute("DROP INDEX IF EXISTS ix_servers_search_text")' in down
