"""What MariaDB does in a way of its own, on the schema that the migrations have built on an empty database."""

import datetime as dt
import random
import unicodedata
from collections.abc import Iterator

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.audit.models import AuditLog
from app.core.db.models import Json, UtcDateTime
from app.core.db.unit_of_work import db, reading, writing
from app.core.values import fold, natural_key, search_text
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.factories import Make
from tests.mariadb import on_mariadb

pytestmark = on_mariadb

servers = Server.__table__


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def given_by_database(function: str, texts: list[str]) -> list[str]:
    listed = sa.func.json_items(sa.literal(texts, Json)).table_valued("value")
    with reading():
        return list(db.session.scalars(sa.select(getattr(sa.func, function)(listed.c.value))))


def test_the_models_and_the_migrations_describe_one_schema() -> None:
    flask_migrate.check(directory=str(config.ROOT / "migrations"))


def test_every_index_of_the_models_is_there() -> None:
    with db.engine.connect() as connection:
        query = "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = database()"
        existing = set(connection.scalars(sa.text(query)))
    declared = {
        index.name
        for table in db.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["postgresql"]["using"] != "gin"
    }
    assert declared - existing == set()


def test_letters_with_other_forms_are_folded_as_python_folds_them() -> None:
    every = [chr(point) for point in range(0x80, 0x110000) if not 0xD800 <= point < 0xE000]
    texts = [each for each in every if unicodedata.category(each) != "Cn" and fold(each) != each]
    assert given_by_database("fold", texts) == [fold(each) for each in texts]


def test_marks_are_ordered_and_composed_as_python_does_it() -> None:
    chosen = random.Random(1)
    marks = [chr(point) for point in range(0x300, 0x3100) if unicodedata.combining(chr(point))]
    letters = "aeiouAEIıİsS가각ㄱᄀÅΣ ς\uff21"
    texts = [
        "".join(
            chosen.choice(letters) + "".join(chosen.choice(marks) for _ in range(chosen.randint(0, 4)))
            for _ in range(3)
        )
        for _ in range(500)
    ]
    assert given_by_database("fold", texts) == [fold(each) for each in texts]


@pytest.mark.parametrize("text", ["srv-7", "00", "0" * 30 + "7", "x" + "9" * 25, "a01b002", "机架 12", "Ｒ１２"])
def test_names_are_ordered_and_searched_as_python_does_it(text: str) -> None:
    assert given_by_database("natural_key", [text]) == [natural_key(text)]
    assert given_by_database("search_text", [text]) == [search_text(text)]


def test_an_update_returns_the_rows_that_it_changed(make: Make) -> None:
    one, two = (make(Server, name=name) for name in "ab")
    before = servers.c.version
    change = (
        sa.update(servers)
        .where(servers.c.id.in_(sa.select(servers.c.id).where(servers.c.name == "b").limit(1)))
        .values(version=before + 1, rack_unit=before + 10)
    )
    with writing():
        row = db.session.execute(change.returning(servers.c.name, servers.c.rack_unit)).one()
        assert tuple(row) == ("b", two.version + 10)
        nothing = change.where(servers.c.name == "c").returning(servers.c.name, servers.c.rack_unit)
        assert db.session.execute(nothing).all() == []
        db.session.rollback()
    with reading():
        assert db.session.scalar(sa.select(servers.c.version).where(servers.c.id == one.id)) == one.version


@pytest.mark.parametrize("change", ["name = 'canary'", "created_at = 'canary'"])
def test_an_error_quotes_no_value(make: Make, change: str) -> None:
    for name in ("canary", "other"):
        make(Datacenter, name=name)
    with pytest.raises(sa.exc.DBAPIError) as raised, db.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE datacenters SET version = version + 1, {change} WHERE name = 'other'"))
    assert "'…' for" in str(raised.value.orig)
    assert "canary" not in str(raised.value.orig)


def test_a_time_that_is_computed_is_a_time() -> None:
    moment = dt.datetime(2026, 1, 31, 8, 0, 0, 123456, dt.UTC)
    with reading():
        query = sa.select(sa.func.coalesce(sa.null(), sa.literal(moment, UtcDateTime())))
        assert db.session.scalar(query) == moment


def test_a_change_without_its_record_is_not_committed(make: Make) -> None:
    server = make(Server, name="a")
    with (
        pytest.raises(sa.exc.DBAPIError, match=f"Version 2 of servers {server.id} has no audit record"),
        db.engine.begin() as connection,
    ):
        connection.execute(sa.text("UPDATE servers SET version = version + 1, rack = 'r'"))
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version FROM servers")) == 1


@pytest.mark.parametrize("table", ["audit_logs", "audit_leaves", "audit_checkpoints", "audit_origin", "tasks", "users"])
def test_a_table_cannot_be_truncated(table: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="Cannot truncate"), db.engine.connect() as connection:
        connection.exec_driver_sql(f"TRUNCATE {table}")


def test_only_a_restore_lets_the_triggers_rest(make: Make) -> None:
    make(Datacenter, name="a")
    for statement in ("INSERT INTO audit_restoring VALUES (1)", "DELETE FROM audit_logs"):
        with pytest.raises(sa.exc.DBAPIError), db.engine.begin() as connection:
            connection.execute(sa.text(statement))
    with reading():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(AuditLog)) >= 1
