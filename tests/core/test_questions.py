"""A question is answered before anything that is read is looked at, by the query that is sent together with it."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.dialects.postgresql import driver as driver_module
from app.core.db.dialects.postgresql.direct import PREPARED_AFTER, _Statement
from app.core.db.dialects.postgresql.driver import Connection, NoAnswer
from app.core.db.dialects.protocol import Query
from app.core.db.dialects.silence import Silence
from app.core.db.prepared import Prepared, Question, Rows
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import current_actor, db, reading, unit_of_work, writing
from app.core.errors import Unauthorized
from tests.backends import on_postgresql
from tests.client import Client
from tests.conftest import Statements

OFTEN = PREPARED_AFTER + 2

_NUMBER = sa.bindparam("number", type_=sa.BigInteger)
ASKED = Prepared(sa.select(_NUMBER.label("asked")))
READ = Prepared(sa.select(_NUMBER.label("read")))
BY_VALUE = Prepared(sa.select(_NUMBER.label("by_value")), by_value=True)


@pytest.fixture
def block(app: Flask) -> Iterator[list[list[Any]]]:
    """A block that reads, with a question; it collects the answers."""
    answers: list[list[Any]] = []
    with app.app_context(), reading():
        unit_of_work().question = Question(ASKED, {"number": 1}, lambda rows: answers.append(list(rows)))
        yield answers
        unit_of_work().question = None


@pytest.fixture
def refusing(app: Flask) -> Iterator[None]:
    """A block that reads, with a question whose answer is a refusal."""

    def refuse(_: Rows) -> None:
        raise Unauthorized

    with app.app_context(), reading():
        unit_of_work().question = Question(ASKED, {"number": 1}, refuse)
        yield
        unit_of_work().question = None


@pytest.mark.parametrize("query", [READ, BY_VALUE])
def test_it_is_answered_with_the_first_query(block: list[list[Any]], query: Prepared) -> None:
    assert list(query.rows({"number": 7})) == [(7,)]
    assert block == [[(1,)]]
    assert list(query.rows({"number": 8})) == [(8,)]
    assert len(block) == 1


def test_it_is_answered_before_what_else_reads(block: list[list[Any]]) -> None:
    assert read_rows(sa.select(sa.literal(7))).all() == [(7,)]
    assert block == [[(1,)]]


def test_it_is_answered_before_the_actor_is_asked_for(block: list[list[Any]]) -> None:
    current_actor()
    assert block == [[(1,)]]


def test_it_is_answered_before_a_block_begins(block: list[list[Any]]) -> None:
    with writing():
        assert block == [[(1,)]]


@pytest.mark.usefixtures("refusing")
def test_a_refusal_ends_whatever_reads() -> None:
    for _ in range(2):
        with pytest.raises(Unauthorized):
            READ.rows({"number": 7})
        # A view that catches it gets it again.
        with pytest.raises(Unauthorized):
            read_rows(sa.select(sa.literal(7)))
        with pytest.raises(Unauthorized):
            db.session.execute(sa.select(sa.literal(7)))
        with pytest.raises(Unauthorized):
            current_actor()


def test_an_object_takes_two_statements(admin: Client, statements: Statements) -> None:
    created = admin.call("POST", "/api/servers", json={"name": "web-1"}, expect=201)["data"]
    with statements() as sent:
        admin.call("GET", f"/api/servers/{created['id']}")
    assert ["FROM users" in text for text in sent] == [True, False]


def test_a_cached_page_is_not_for_whoever_has_signed_out(admin: Client, user: Client) -> None:
    admin.call("GET", "/api/servers")
    tag = user.send("GET", "/api/servers").headers["ETag"]
    user.send("GET", "/api/servers", headers={"If-None-Match": tag}, expect=304)
    user.call("POST", "/api/auth/logout")
    for headers in ({}, {"If-None-Match": tag}):
        assert user.call("GET", "/api/servers", headers=headers, expect=401)["data"]["reason"] == "token_revoked"


@pytest.fixture
def direct(app: Flask) -> Iterator[Any]:
    """Sends queries on the connection of a block that reads."""
    with app.app_context(), reading():
        driver: Any = unit_of_work().current_connection().connection.dbapi_connection
        yield driver.direct


GOOD, WRONG = Query("SELECT $1::int", [1], by_value=False), Query("SELECT 1 / $1::int", [0], by_value=False)


def rows_of(answers: Any) -> list[Any]:
    return [rows for rows, _ in answers]


@on_postgresql
def test_queries_are_sent_together_prepared_or_not(direct: Any) -> None:
    other = Query("SELECT x, 'text' FROM generate_series(1, $1::int) AS x", ["3"], by_value=False)
    for _ in range(2 * OFTEN):
        answers = direct.fetch([GOOD, other, GOOD])
        assert rows_of(answers) == [[(1,)], [(1, "text"), (2, "text"), (3, "text")], [(1,)]]


@on_postgresql
@pytest.mark.parametrize("queries", [[WRONG, GOOD], [GOOD, WRONG], [WRONG, WRONG]])
def test_an_error_of_one_leaves_a_connection_that_works(direct: Any, queries: list[Query]) -> None:
    for _ in range(2 * OFTEN):
        with pytest.raises(psycopg.errors.DivisionByZero):
            direct.fetch(queries)
        assert rows_of(direct.fetch([GOOD, GOOD])) == [[(1,)], [(1,)]]


@on_postgresql
def test_what_was_forgotten_is_prepared_again(direct: Any) -> None:
    for number in range(4 * OFTEN):
        if number % OFTEN == OFTEN - 1:
            direct.connection.pgconn.exec_(b"DEALLOCATE ALL")
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                direct.fetch([GOOD, GOOD])
        assert rows_of(direct.fetch([GOOD, GOOD])) == [[(1,)], [(1,)]]


@on_postgresql
def test_a_connection_that_does_not_answer_all_in_time_is_closed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Query("SELECT pg_sleep(5)", [], by_value=True)
    monkeypatch.setattr(driver_module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(Connection, "silence", Silence())
    with app.test_request_context(), reading():
        driver: Any = unit_of_work().current_connection().connection.dbapi_connection
        with pytest.raises(NoAnswer):
            driver.direct.fetch([GOOD, slow])
    assert driver.closed
    with app.app_context(), reading():
        assert READ.rows({"number": 7}) == [(7,)]


@on_postgresql
def test_a_request_begins_its_transaction_with_its_first_statement(app: Flask) -> None:
    table = sa.table("begun")
    with app.test_request_context():
        with writing():
            driver: Any = db.session.connection().connection.dbapi_connection
            assert driver.info.transaction_status.name == "IDLE"
            assert READ.rows({"number": 7}) == [(7,)]
            assert driver.info.transaction_status.name == "INTRANS"
        for first in (lambda: READ.rows({"number": 7}), lambda: None):
            with suppress(ZeroDivisionError), writing():
                first()
                db.session.execute(sa.text("CREATE TABLE begun ()"))
                raise ZeroDivisionError
            with reading():
                assert not sa.inspect(unit_of_work().current_connection()).has_table(table.name)
        with writing():
            db.session.connection()
        assert driver.info.transaction_status.name == "IDLE"


@on_postgresql
def test_what_follows_a_statement_that_cannot_be_prepared_is_in_the_transaction(app: Flask) -> None:
    wrong = Query("SELECT $1::int FROM nothing_of_this_name", [1], by_value=False)
    with app.test_request_context(), writing():
        driver: Any = db.session.connection().connection.dbapi_connection
        driver.direct._statements[wrong.text] = statement = _Statement(driver, wrong.text, 1, "of_a_test")
        statement.runs = PREPARED_AFTER - 1
        with pytest.raises(psycopg.errors.UndefinedTable):
            driver.direct.fetch([wrong])
        assert rows_of(driver.direct.fetch([GOOD])) == [[(1,)]]
        assert driver.info.transaction_status.name == "INTRANS"
        del driver.direct._statements[wrong.text]
