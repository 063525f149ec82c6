"""What the database and the session refuse by themselves, so that no change can pass the audit log by."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from app.core.audit.declaration import Audited, audited_columns
from app.core.audit.models import AuditLog
from app.core.db.models import Base
from app.core.db.rules import unique_rules
from app.core.db.unit_of_work import db, reading
from app.datacenters.models import Datacenter
from app.servers.models import Server
from app.users.models import User
from tests.backends import Backend, on_postgresql, on_sqlite
from tests.contract.resources import RESOURCES
from tests.factories import Make

AUDITED = sorted(
    (
        mapper.class_
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, Audited) and mapper.local_table is not None
    ),
    key=lambda model: model.__tablename__,
)
each_audited = pytest.mark.parametrize("model", AUDITED, ids=lambda model: model.__tablename__)


OURS = ("must raise the version", "append-only", "has no audit record")


def is_refused(app: Flask, statement: str) -> bool:
    """Whether a trigger of ours refuses an SQL statement."""
    with app.app_context():
        try:
            db.session.execute(sa.text(statement))
            db.session.commit()
        except DBAPIError as error:
            db.session.rollback()
            if any(text in str(error.orig) for text in OURS):
                return True
            raise
    return False


def test_every_audited_model_is_catalogued() -> None:
    assert set(AUDITED) == {resource.model for resource in RESOURCES}


@each_audited
def test_a_change_must_raise_the_version(app: Flask, backend: Backend, model: type[Any], make: Make) -> None:
    """Of every recorded column: one that was added without its trigger is found here."""
    identity = make(model, full=True).id
    table = model.__tablename__
    on_mariadb = backend.name == "mariadb"
    for name in [*audited_columns(model), "id", "created_at", "updated_at"]:
        # MariaDB's triggers are not of columns: where some of a table are not recorded, ours compare the values.
        value = f"CASE WHEN {name} IS NULL THEN 20010101 END" if on_mariadb else name
        assert is_refused(app, f"UPDATE {table} SET {name} = {value} WHERE id = {identity}"), name
    for version in (*(() if on_mariadb else ("version",)), "version + 2", "version - 1", "0"):
        assert is_refused(app, f"UPDATE {table} SET version = {version} WHERE id = {identity}"), version


@each_audited
def test_a_change_must_have_its_record(app: Flask, model: type[Any], make: Make) -> None:
    identity = make(model, full=True).id
    table = model.__tablename__
    with app.app_context():
        db.session.execute(sa.text(f"UPDATE {table} SET version = version + 1 WHERE id = {identity}"))
        with pytest.raises(DBAPIError, match="has no audit record"):
            db.session.commit()
        db.session.rollback()


@each_audited
def test_a_row_that_is_gone_must_have_its_record(app: Flask, model: type[Any], make: Make) -> None:
    identity = make(model).id
    table = model.__tablename__
    for statement in (
        f"DELETE FROM {table} WHERE id = {identity}",
        f"UPDATE {table} SET id = 4711, version = version + 1 WHERE id = {identity}",
    ):
        with app.app_context():
            db.session.execute(sa.text(statement))
            with pytest.raises(DBAPIError, match="has no audit record"):
                db.session.commit()
            db.session.rollback()


@each_audited
def test_a_new_row_must_have_its_record(app: Flask, model: type[Any], make: Make) -> None:
    make(model)
    table = model.__table__
    unique = {field for fields, _ in unique_rules(table) for field in fields}
    columns = [column for column in table.columns if column.key != "id"]
    names = ", ".join(column.key for column in columns)
    values = ", ".join(
        f"'raw ' || {column.key}" if column.key in unique and isinstance(column.type, sa.String) else column.key
        for column in columns
    )
    with app.app_context():
        db.session.execute(sa.text(f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {table.name}"))
        with pytest.raises(DBAPIError, match=rf"Version 1 of {table.name} \d+ has no audit record"):
            db.session.commit()
        db.session.rollback()


@on_sqlite
def test_what_is_expected_of_a_change_cannot_be_taken_back(app: Flask, make: Make) -> None:
    identity = make(Datacenter).id
    for taking_back in ("DELETE FROM audit_expected", "UPDATE audit_expected SET version = 1"):
        with app.app_context():
            db.session.execute(sa.text(f"UPDATE datacenters SET version = version + 1 WHERE id = {identity}"))
            with pytest.raises(DBAPIError, match="has no audit record"):
                db.session.execute(sa.text(taking_back))
            db.session.rollback()


@on_sqlite
def test_what_was_expected_is_forgotten_with_its_record(app: Flask, make: Make) -> None:
    make(Datacenter)
    with app.app_context():
        assert db.session.scalar(sa.text("SELECT count(*) FROM audit_expected")) == 0


@on_postgresql
@each_audited
def test_a_table_cannot_be_truncated(app: Flask, model: type[Any]) -> None:
    with app.app_context():
        with pytest.raises(DBAPIError, match="with an audit record for each"):
            db.session.execute(sa.text(f"TRUNCATE {model.__tablename__} CASCADE"))
        db.session.rollback()


@each_audited
def test_bookkeeping_is_no_change(app: Flask, model: type[Any], make: Make) -> None:
    identity = make(model).id
    for column in model.__table__.columns:
        if column.info.get("audit") is False:
            assert column.key not in audited_columns(model)
            update = f"UPDATE {model.__tablename__} SET {column.key} = {column.key} WHERE id = {identity}"
            assert not is_refused(app, update), column.key


def test_the_log_is_append_only(app: Flask, backend: Backend, make: Make) -> None:
    make(User)
    for column in AuditLog.__table__.columns:
        assert is_refused(app, f"UPDATE audit_logs SET {column.key} = {column.key}"), column.key
    assert is_refused(app, "DELETE FROM audit_logs")
    # SQLite has no TRUNCATE, but a REPLACE, which deletes what is in its way.
    on_sqlite = backend.name == "sqlite"
    other = "REPLACE INTO audit_logs SELECT * FROM audit_logs" if on_sqlite else "TRUNCATE audit_logs"
    assert is_refused(app, other)
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(AuditLog)) == 1


def test_the_log_refers_to_no_other_table() -> None:
    """Otherwise deleting an object would need its records to be gone."""
    assert not AuditLog.__table__.foreign_keys


def test_a_version_is_recorded_once(app: Flask, make: Make) -> None:
    make(User)
    columns = ", ".join(column.key for column in AuditLog.__table__.columns if column.key != "id")
    with app.app_context(), pytest.raises(sa.exc.IntegrityError):
        db.session.execute(sa.text(f"INSERT INTO audit_logs ({columns}) SELECT {columns} FROM audit_logs"))


@each_audited
def test_bulk_writes_are_refused(app: Flask, model: type[Any], make: Make) -> None:
    """The session's listener would not see the objects."""
    target = make(model)
    values = {"id": target.id, "version": 2}
    with app.app_context():
        session = db.session
        writes = (
            lambda: session.execute(sa.update(model).values(version=2)),
            lambda: session.execute(sa.delete(model)),
            lambda: session.execute(sa.insert(model), [values]),
            lambda: session.execute(sa.update(model), [values]),
            lambda: session.query(model).update({"version": 2}),
            lambda: session.query(model).delete(),
            lambda: session.bulk_insert_mappings(model, [values]),
            lambda: session.bulk_update_mappings(model, [values]),
            lambda: session.bulk_save_objects([target]),
        )
        for write in writes:
            with pytest.raises(RuntimeError, match="bypass the audit log"):
                write()
            session.rollback()


def test_a_safe_request_may_not_change_anything(app: Flask, make: Make) -> None:
    identity = make(Server).id

    def change() -> None:
        with reading():
            db.session.get_one(Server, identity).name = "changed"

    with app.app_context(), pytest.raises(RuntimeError, match="safe request"):
        change()
