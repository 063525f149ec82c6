"""Migrations: what `flask db migrate` generates, the reusable operations, and the way back from the first schema."""

from collections.abc import Iterator, Sequence
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from alembic.script import ScriptDirectory
from flask import Flask

import config
from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.counters.models import counted_models, counted_of
from app.core.db.models import Base
from app.core.db.unit_of_work import db
from app.gpus.models import GpuAssignment
from app.imports.models import Import
from app.resource.query.searched_fields import is_searched, searched_of
from app.servers.models import Server
from app.services.models import Service
from app.tasks.models import Task
from app.users.models import User
from migrations import guards
from migrations.choices import allow_choices
from migrations.columns import add_choice, add_reference
from migrations.directives import directives, next_number, searched_arguments
from tests.backends import Backend, on_postgresql
from tests.mariadb import Mariadb

MIGRATIONS = str(config.ROOT / "migrations")


@pytest.fixture
def connection(app: Flask, backend: Backend) -> Iterator[sa.Connection]:
    """A connection on which Alembic's operations run; all that they do is rolled back, or undone."""
    with app.app_context(), db.engine.connect() as connection, connection.begin() as transaction:
        # The naming convention of the metadata names constraints, as in env.py.
        with Operations.context(MigrationContext.configure(connection, opts={"target_metadata": Base.metadata})):
            existing = tables(connection)
            yield connection
            if backend.name == Mariadb.name:
                undo(connection, existing)
        if transaction.is_active:
            transaction.rollback()
    if backend.name == Mariadb.name:
        # The migrations have created its triggers anew.
        backend.keep_as_empty(app)


def undo(connection: sa.Connection, existing: set[str]) -> None:
    """Restore the tables that there were: on MariaDB and MySQL each operation commits."""
    left = tables(connection)
    for name in left - existing:
        op.drop_table(name)
    if not existing <= left:
        for migration in reversed(newest_first()):
            migration.upgrade()


def generated(app: Flask, table: sa.Table) -> tuple[list[str], list[str]]:
    """The lines of a migration that adds a table, and of its downgrade."""
    indexes = [
        ops.CreateIndexOp.from_index(index) for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    return rendered(app, ops.CreateTableOp.from_table(table), ops.ModifyTableOps(table.name, indexes))


def added(app: Flask, table: sa.Table, *columns: str) -> tuple[list[str], list[str]]:
    """The lines of a migration that adds columns, and of its downgrade, without their types."""
    operations = [ops.AddColumnOp.from_column(table.columns[name]) for name in columns]
    up, down = rendered(app, ops.ModifyTableOps(table.name, operations))
    return [line.split(", sa.")[0] for line in up], [line.split(", sa.")[0] for line in down]


def rendered(app: Flask, *operations: ops.MigrateOperation) -> tuple[list[str], list[str]]:
    upgrade = ops.UpgradeOps(operations)
    script = ops.MigrationScript("x", upgrade, upgrade.reverse())
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        directives(context, ("head",), [script])
        texts = [
            render_python_code(each, migration_context=context) for each in (script.upgrade_ops, script.downgrade_ops)
        ]
    up, down = ([line.strip() for line in text.splitlines()] for text in texts)
    return up, down


def test_an_audited_table_is_guarded(app: Flask) -> None:
    up, _ = generated(app, Server.__table__)
    assert 'guards.guard_changes("servers")' in up
    other, _ = generated(app, Import.__table__)
    assert not any("guard" in line for line in other)


def test_columns_outside_the_audit_log_raise_no_version(app: Flask) -> None:
    up, _ = generated(app, User.__table__)
    (line,) = [line for line in up if "guard_changes" in line]
    assert "unversioned=('last_login_at', 'last_login_ip', " in line


def test_a_text_index_is_created_on_postgresql_only(app: Flask) -> None:
    up, down = generated(app, AuditLog.__table__)
    (line,) = [line for line in up if "gin_trgm_ops" in line]
    assert line.startswith("guards.create_text_index('ix_audit_logs_texts', 'audit_logs', ")
    assert 'op.execute("DROP INDEX IF EXISTS ix_audit_logs_texts")' in down


def test_the_objects_of_a_resource_can_be_found(app: Flask) -> None:
    up, _ = generated(app, Server.__table__)
    (line,) = [line for line in up if "keep_search_entries" in line]
    assert line.startswith("guards.keep_search_entries('servers', ('name', 'hostname', ")
    assert "'mac_address:mac'" in line
    up, _ = generated(app, Task.__table__)
    assert "guards.keep_search_entries('tasks', ('title', 'description'), is_private=True)" in up


def test_the_objects_of_a_table_are_counted(app: Flask) -> None:
    up, down = generated(app, Server.__table__)
    assert f"guards.keep_counts('servers', {counted_of(Server).arguments()!r})" in up
    assert down.index("guards.forget_counts('servers')") < down.index("op.drop_table('servers')")


def test_an_added_column_is_counted(app: Flask) -> None:
    up, down = added(app, Server.__table__, "environment_id")
    assert any(
        line.startswith("guards.keep_counts('servers', (('status', 'server_type', 'datacenter_id',") for line in up
    )
    assert "guards.keep_counts('servers', (('status', 'warranty_expires'), ('created_at:day',)))" in down
    other, _ = added(app, Server.__table__, "rack_unit")
    assert not any("counts" in line for line in other)


def test_the_entries_of_a_table_go_before_it(app: Flask) -> None:
    _, down = generated(app, Server.__table__)
    assert down.index("guards.forget_search_entries('servers')") < down.index("op.drop_table('servers')")


def test_the_commits_that_change_a_table_are_numbered(app: Flask) -> None:
    up, down = generated(app, Server.__table__)
    assert "guards.number_commits('servers')" in up
    assert "guards.forget_commits('servers')" in down


@on_postgresql
def test_the_commits_of_each_table_of_which_answers_are_cached_are_numbered(connection: sa.Connection) -> None:
    """And nothing is left of them when the schema is gone."""
    models = [GpuAssignment, *(resource.model for resource in CATALOG.values())]
    assert {f"{model.__tablename__}_commits" for model in models} <= sequences(connection)
    for migration in newest_first():
        migration.downgrade()
    assert not sequences(connection)


def sequences(connection: sa.Connection) -> set[str]:
    return set(connection.scalars(sa.text("SELECT sequencename FROM pg_sequences")))


def test_an_added_text_can_be_found(app: Flask) -> None:
    up, down = added(app, Task.__table__, "description")
    assert [line for line in up if not line.startswith("#")] == [
        "op.add_column('tasks'",
        "guards.forget_search_entries('tasks')",
        "guards.keep_search_entries('tasks', ('title', 'description'), is_private=True)",
    ]
    assert [line for line in down if not line.startswith("#")] == [
        "guards.forget_search_entries('tasks')",
        "guards.keep_search_entries('tasks', ('title',), is_private=True)",
        "op.drop_column('tasks', 'description')",
    ]
    other, _ = added(app, Task.__table__, "due_date")
    assert not any("guards" in line for line in other)


def test_a_column_that_the_model_lost_is_searched_no_more(app: Flask) -> None:
    gone = sa.Column("former", sa.Text)
    up, _ = rendered(
        app, ops.ModifyTableOps("tasks", [ops.DropColumnOp.from_column_and_tablename(None, "tasks", gone)])
    )
    entries_rebuilt = "guards.keep_search_entries('tasks', ('title', 'description'), is_private=True)"
    assert up.index(entries_rebuilt) < up.index("op.drop_column('tasks', 'former')")


def test_an_added_column_raises_the_version_where_others_do_not(app: Flask) -> None:
    up, down = added(app, Service.__table__, "port")
    assert "guards.guard_versions(\"services\", unversioned=('last_checked_at',))" in up
    assert "guards.guard_versions(\"services\", unversioned=('last_checked_at', 'port'))" in down


def test_an_added_column_brings_its_constraint_along(app: Flask) -> None:
    """SQLite can add no constraint afterwards."""
    columns = Service.__table__.columns
    keys = [ops.CreateForeignKeyOp.from_constraint(key.constraint) for key in columns["server_id"].foreign_keys]
    additions = [ops.AddColumnOp.from_column(columns[name]) for name in ("server_id", "protocol", "status")]
    up, down = rendered(app, ops.ModifyTableOps("services", [*additions, *keys]))
    assert 'columns.add_reference("services", "server_id", "servers")' in up
    assert any(line.startswith('columns.add_choice("services", "protocol", "ck_services_protocol", (') for line in up)
    assert any(line.endswith("'disabled'), default='unknown')") for line in up)
    assert not any("foreign_key" in line for line in up)
    assert not any("drop_constraint" in line for line in down)


def test_a_column_with_a_constraint_is_added_and_dropped(connection: sa.Connection) -> None:
    sa.Table("rooms", sa.MetaData(), sa.Column("name", sa.String(20))).create(connection)
    connection.execute(sa.text("INSERT INTO rooms VALUES ('hall')"))
    add_reference("rooms", "datacenter_id", "datacenters")
    add_choice("rooms", "status", "ck_rooms_status", ("open", "closed"), default="open")
    allow_choices("rooms", "status", "ck_rooms_status", ("open", "closed", "full"))
    connection.execute(sa.text("INSERT INTO rooms VALUES ('cellar', NULL, 'full')"))
    for values in ("'attic', 999, 'open'", "'attic', NULL, 'ajar'"):
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.text(f"INSERT INTO rooms VALUES ({values})"))
    assert connection.execute(sa.text("SELECT * FROM rooms")).all() == [
        ("hall", None, "open"),
        ("cellar", None, "full"),
    ]
    for column in ("status", "datacenter_id"):
        op.drop_column("rooms", column)
    assert connection.execute(sa.text("SELECT * FROM rooms")).all() == [("hall",), ("cellar",)]


def test_a_column_that_is_compared_by_its_folded_text_is_dropped(connection: sa.Connection) -> None:
    columns = [sa.Column(name, sa.String(20)) for name in ("name", "label")]
    sa.Table("rooms", sa.MetaData(), *columns, sa.Column("site", sa.BigInteger)).create(connection)
    for column in ("name", "label"):
        op.create_index(f"uq_rooms_{column}", "rooms", [sa.text(f"fold({column})")], unique=True)
    op.create_index("uq_rooms_site", "rooms", [sa.text("coalesce(site, 0)"), sa.text("natural_key(label)")])
    for index in ("uq_rooms_label", "uq_rooms_site"):
        op.drop_index(index, "rooms")
    connection.execute(sa.text("INSERT INTO rooms VALUES ('Hall', 'A', 1)"))
    for column in ("label", "site"):
        op.drop_column("rooms", column)
    connection.execute(sa.text("INSERT INTO rooms VALUES ('Attic')"))
    connection.execute(sa.text("UPDATE rooms SET name = 'Cellar' WHERE name = 'Attic'"))
    with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
        connection.execute(sa.text("INSERT INTO rooms VALUES ('hall')"))
    op.drop_index("uq_rooms_name", "rooms")
    op.add_column("rooms", sa.Column("number", sa.Integer))
    op.drop_column("rooms", "name")
    connection.execute(sa.text("INSERT INTO rooms VALUES (7)"))
    assert connection.scalars(sa.text("SELECT number FROM rooms ORDER BY number IS NULL")).all() == [7, None, None]


def test_revision_numbers_sort_in_the_order_of_migrations() -> None:
    assert next_number([]) == "0001"
    assert next_number(["0009"]) == "0010"
    assert next_number(["0002", "0003"]) == "0004"


def test_the_models_and_the_migrations_describe_one_schema(app: Flask) -> None:
    with app.app_context():
        flask_migrate.check(directory=MIGRATIONS)


def test_an_enumeration_accepts_further_values(connection: sa.Connection) -> None:
    colour = sa.Enum("red", name="colour", native_enum=False, create_constraint=True, length=8)
    sa.Table("paints", sa.MetaData(), sa.Column("colour", colour)).create(connection)
    connection.execute(sa.text("INSERT INTO paints VALUES ('red')"))
    allow_choices("paints", "colour", "colour", ("red", "blue"))
    connection.execute(sa.text("INSERT INTO paints VALUES ('blue')"))
    with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
        connection.execute(sa.text("INSERT INTO paints VALUES ('green')"))
    assert connection.scalars(sa.text("SELECT colour FROM paints")).all() == ["red", "blue"]


def first_schema() -> Any:
    return ScriptDirectory(MIGRATIONS).get_revision("0001").module


def newest_first() -> list[Any]:
    return [script.module for script in ScriptDirectory(MIGRATIONS).walk_revisions()]


def tables(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


def write_record(connection: sa.Connection) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO audit_logs (created_at, action, resource_type, changes, request_id, mac) "
            "VALUES ('2026-01-31 08:00:00', 'login', 'users', '{}', 'x', 'y')"
        )
    )


def test_a_downgrade_refuses_to_drop_audit_records(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(connection)
    name = connection.scalar(sa.text("SELECT name FROM audit_origin"))
    for value in (None, "1", "itam-audit-log/another"):
        if value:
            monkeypatch.setenv(guards.CONSENT, value)
        with pytest.raises(RuntimeError, match=f"set DROP_AUDIT_LOG={name} and run it again"):
            first_schema().downgrade()
    assert tables(connection) >= {"audit_logs", "servers"}


def test_every_migration_goes_and_comes_back(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(connection)
    monkeypatch.setenv(guards.CONSENT, str(connection.scalar(sa.text("SELECT name FROM audit_origin"))))
    before = tables(connection)
    for migration in newest_first():
        migration.downgrade()
    assert tables(connection) == {"alembic_version"}
    for migration in reversed(newest_first()):
        migration.upgrade()
    assert tables(connection) == before
    # Without records there is nothing to consent to.
    monkeypatch.delenv(guards.CONSENT)
    for migration in newest_first():
        migration.downgrade()


def test_the_counted_columns_are_those_of_the_models(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that the model declares and no trigger keeps would always read 0."""
    migrated: dict[str, Sequence[Sequence[str]]] = {}
    keep = guards.keep_counts

    def note(table: str, counters: Sequence[Sequence[str]]) -> None:
        migrated[table] = counters
        keep(table, counters)

    for migration in newest_first():
        migration.downgrade()
    monkeypatch.setattr(guards, "keep_counts", note)
    for migration in reversed(newest_first()):
        migration.upgrade()
    assert migrated == {model.__tablename__: counted_of(model).arguments() for model in counted_models()}


def test_the_searched_columns_are_those_of_the_declarations(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a search would not find what is in another column, and a private object would be found by others."""
    migrated: dict[str, tuple[Sequence[str], bool]] = {}
    keep = guards.keep_search_entries

    def note(table: str, columns: Sequence[str], *, is_private: bool = False) -> None:
        migrated[table] = tuple(columns), is_private
        keep(table, columns, is_private=is_private)

    for migration in newest_first():
        migration.downgrade()
    monkeypatch.setattr(guards, "keep_search_entries", note)
    for migration in reversed(newest_first()):
        migration.upgrade()
    searched = [searched_of(resource) for resource in CATALOG.values() if is_searched(resource)]
    assert migrated == {each.table: (tuple(searched_arguments(each).values()), each.is_private) for each in searched}
