"""Results that MariaDB sends while they are read, whatever else the connection is used for meanwhile."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from tests.mariadb import on_mariadb

pytestmark = on_mariadb

DIGITS = 5
ROWS = 10**DIGITS


def numbers_to(digits: int) -> sa.Subquery:
    """The numbers from 1 to 10^digits, which the server makes."""
    digit = " UNION ALL ".join(f"SELECT {value} AS value" for value in range(10))
    places = ", ".join(f"({digit}) AS digit_{place}" for place in range(digits))
    number = " + ".join(f"{10**place} * digit_{place}.value" for place in range(digits))
    return sa.text(f"SELECT 1 + {number} AS number FROM {places}").columns(sa.column("number")).subquery()


made = numbers_to(DIGITS)
numbers = sa.select(made.c.number).order_by(made.c.number)


@pytest.fixture
def connection(app: Flask) -> Iterator[sa.Connection]:
    with app.app_context(), db.engine.connect().execution_options(access="snapshot") as connection:
        yield connection


def stream(connection: sa.Connection) -> Iterator[int]:
    for (number,) in connection.execute(numbers.execution_options(yield_per=100)):
        yield number


def is_streaming(connection: sa.Connection) -> bool:
    """Whether the server still has rows to send."""
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver._result is not None and driver._result.unbuffered_active


def test_rows_are_read_as_they_are_fetched(connection: sa.Connection) -> None:
    rows = stream(connection)
    assert next(rows) == 1
    assert is_streaming(connection)
    assert list(rows) == list(range(2, ROWS + 1))
    assert not is_streaming(connection)


def test_two_results_are_read_in_turn(connection: sa.Connection) -> None:
    pairs = list(zip(stream(connection), stream(connection), strict=True))
    assert pairs == [(number, number) for number in range(1, ROWS + 1)]


def test_other_statements_are_executed_between_rows(connection: sa.Connection) -> None:
    expected = iter(range(1, ROWS + 1))
    for number in stream(connection):
        assert number == next(expected)
        if number in (1, 150, ROWS):
            assert connection.scalar(sa.select(sa.literal(number))) == number
    assert next(expected, None) is None


def test_a_result_that_nobody_reads_to_its_end(app: Flask) -> None:
    with app.app_context():
        with db.engine.connect().execution_options(access="snapshot") as connection:
            assert next(stream(connection)) == 1
            driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.open
        with driver.cursor() as cursor:
            cursor.execute("SELECT 2")
            assert cursor.fetchall() == ((2,),)


def test_a_connection_that_is_lost_between_rows(app: Flask) -> None:
    with app.app_context():
        with db.engine.connect().execution_options(access="snapshot") as connection:
            identity = connection.scalar(sa.select(sa.func.connection_id()))
            # More than the buffers of a socket hold: what the server has sent before can still be read.
            large = numbers.add_columns(sa.func.repeat("x", 1000)).execution_options(yield_per=100)
            rows = iter(connection.execute(large))
            assert next(rows)[0] == 1
            with db.engine.connect() as administrator:
                administrator.exec_driver_sql(f"KILL CONNECTION {identity}")
            with pytest.raises(sa.exc.OperationalError):
                list(rows)
        with db.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.literal(1))) == 1


def test_the_limit_of_statements_is_not_that_of_readers(connection: sa.Connection) -> None:
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql(f"SET {driver.server.limited(1)}")
    rows = stream(connection)
    assert next(rows) == 1
    with pytest.raises(
        sa.exc.OperationalError, match=driver.server.statement_limit + "|maximum statement execution time"
    ):
        connection.scalar(sa.select(sa.func.sum(numbers_to(10).c.number)))
    assert next(rows) == 2
