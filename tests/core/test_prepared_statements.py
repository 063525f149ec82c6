"""Statements that every request runs: a connection prepares them, whatever makes PostgreSQL forget that."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.dialects.postgresql.direct import MAX_STATEMENTS, PREPARED_AFTER
from app.core.db.prepared import Prepared
from app.core.db.unit_of_work import db, reading, transactional, unit_of_work, writing
from tests.backends import on_postgresql
from tests.client import Client

OFTEN = PREPARED_AFTER + 2

_NUMBER = sa.bindparam("number", type_=sa.BigInteger)


@pytest.fixture
def forgetful(app: Flask) -> Iterator[Any]:
    """Makes PostgreSQL forget what the connection of the current block has prepared, past the application."""

    def forget() -> None:
        driver: Any = unit_of_work().current_connection().connection.driver_connection
        driver.pgconn.exec_(b"DEALLOCATE ALL")

    with app.app_context():
        yield forget


def prepared() -> int:
    """How many statements the connection of the current block has prepared."""
    connection = unit_of_work().current_connection()
    statement = "SELECT count(*) FROM pg_prepared_statements WHERE starts_with(name, 'itam')"
    return int(connection.exec_driver_sql(statement).scalar_one())


@on_postgresql
def test_one_plan_serves_small_and_large_numbers_and_none(app: Flask) -> None:
    double = Prepared(sa.select(_NUMBER * 2))
    with app.app_context(), reading():
        # A connection of the pool may have served other tests.
        before = prepared()
        for number in (1, 2**40, None) * OFTEN:
            assert double.rows({"number": number}) == [(number and number * 2,)]
        assert prepared() == before + 1


@on_postgresql
def test_a_connection_prepares_a_limited_number(app: Flask) -> None:
    statements = [Prepared(sa.select(_NUMBER.label(f"number_{place}"))) for place in range(MAX_STATEMENTS + 20)]
    with app.app_context(), reading():
        for _ in range(2):
            for place, statement in enumerate(statements):
                for _ in range(OFTEN):
                    assert statement.rows({"number": place}) == [(place,)]
        assert prepared() == MAX_STATEMENTS


def test_writes_go_on_after_conflicts(admin: Client) -> None:
    """A rollback makes PostgreSQL forget."""
    for place in range(2 * OFTEN):
        created = admin.call("POST", "/api/servers", json={"name": f"web-{place}"}, expect=201)["data"]
        admin.call("POST", "/api/servers", json={"name": f"web-{place}"}, expect=409)
        path = f"/api/servers/{created['id']}"
        assert admin.call("PATCH", path, json={"owner": f"team {place}"})["data"]["owner"] == f"team {place}"
        assert admin.call("GET", path)["data"]["version"] == 2


@on_postgresql
def test_a_savepoint_that_is_rolled_back_does_not_end_the_transaction(app: Flask) -> None:
    same = Prepared(sa.select(_NUMBER))
    with app.app_context(), writing():
        for number in range(3 * OFTEN):
            assert same.rows({"number": number}) == [(number,)]
            # psycopg has prepared statements of its own, which it lets PostgreSQL forget then.
            assert db.session.scalar(sa.select(sa.literal(number))) == number
            if number >= OFTEN:
                with suppress(ValueError), db.session.begin_nested():
                    raise ValueError


@on_postgresql
def test_a_read_goes_on_where_all_has_been_forgotten(forgetful: Any) -> None:
    same = Prepared(sa.select(_NUMBER))
    with reading():
        for number in range(3 * OFTEN):
            assert same.rows({"number": number}) == [(number,)]
            if number == OFTEN:
                forgetful()
        assert prepared() == 1


@on_postgresql
def test_a_write_begins_again_where_all_has_been_forgotten(forgetful: Any) -> None:
    same = Prepared(sa.select(_NUMBER))
    begun = []

    def view() -> int:
        begun.append(1)
        numbers = [same.rows({"number": number})[0][0] for number in range(OFTEN)]
        if len(begun) == 1:
            forgetful()
        return int(numbers[-1] + same.rows({"number": 1})[0][0])

    assert (transactional(view)(), len(begun)) == (OFTEN, 2)


@on_postgresql
def test_a_column_may_get_another_type(app: Flask) -> None:
    table = sa.Table("of_another_type", sa.MetaData(), sa.Column("id", sa.Integer))
    everything = Prepared(sa.select(sa.type_coerce(table.c.id, sa.types.NullType())))
    with app.app_context():
        with writing():
            table.create(db.session.connection())
            db.session.execute(sa.insert(table).values(id=7))
        try:
            with reading():
                assert [everything.rows({}) for _ in range(OFTEN)] == [[(7,)]] * OFTEN
            with db.engine.connect() as other:
                other.exec_driver_sql("ALTER TABLE of_another_type ALTER COLUMN id TYPE text")
                other.commit()
            with reading():
                assert [everything.rows({}) for _ in range(OFTEN)] == [[("7",)]] * OFTEN
        finally:
            with writing():
                table.drop(db.session.connection())
