"""Requests use a connection to PostgreSQL again without asking SQLAlchemy's pool for it."""

from contextlib import ExitStack, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.dialects.postgresql.connections import APPLICATION_NAME
from app.core.db.dialects.postgresql.kept_connections import MAX_KEPT, give_back, take
from app.core.db.unit_of_work import db, reading, unit_of_work, writing
from tests.backends import on_postgresql
from tests.client import Client
from tests.threads import wait_until

pytestmark = on_postgresql

PROCESS = sa.text("SELECT pg_backend_pid()")


def processes(app: Flask) -> set[int]:
    """Those that serve the application."""
    own = sa.text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name")
    with app.app_context():
        other = sa.create_engine(db.engine.url)
        with other.connect() as connection:
            found = set(connection.execute(own, {"name": APPLICATION_NAME}).scalars())
        other.dispose()
    return found


@pytest.fixture(autouse=True)
def others(app: Flask) -> set[int]:
    """The connections that are open already, or end at the moment; none is one of the pool of the application."""
    with app.app_context():
        db.engine.dispose()
    return processes(app)


def process_of_block() -> int:
    """The process of the server that answers the current block."""
    return int(unit_of_work().current_connection().execute(PROCESS).scalar_one())


def pool() -> Any:
    return db.engine.pool


def test_blocks_that_read_and_that_write_use_one_connection(app: Flask, others: set[int]) -> None:
    with app.app_context():
        used = set()
        for _ in range(3):
            with reading():
                used.add(process_of_block())
            with writing():
                used.add(process_of_block())
    assert len(used) == 1
    assert processes(app) - others == used


def test_requests_use_the_connection_of_the_one_before(app: Flask, admin: Client, others: set[int]) -> None:
    for number in range(5):
        created = admin.call("POST", "/api/servers", json={"name": f"web-{number}"}, expect=201)["data"]
        admin.call("GET", f"/api/servers/{created['id']}")
    assert len(processes(app) - others) == 1


def test_one_that_the_server_has_closed_is_replaced(app: Flask, admin: Client, others: set[int]) -> None:
    admin.call("GET", "/api/servers")
    (process,) = processes(app) - others
    with app.app_context():
        other = sa.create_engine(db.engine.url, isolation_level="AUTOCOMMIT")
        with other.connect() as connection:
            connection.execute(sa.text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
        other.dispose()
    admin.call("GET", "/api/servers")
    wait_until(lambda: process not in processes(app))
    with app.app_context():
        assert pool().checkedout() == len(pool().kept) == 1


def test_a_number_of_them_is_kept_and_the_rest_returned_to_the_pool(app: Flask) -> None:
    with app.app_context():
        taken = [take(db.engine, "read") for _ in range(MAX_KEPT + 3)]
        for connection in taken:
            give_back(connection)
        assert (len(pool().kept), pool().checkedout(), pool().checkedin()) == (MAX_KEPT, MAX_KEPT, 3)
        assert take(db.engine, "read") is taken[MAX_KEPT - 1]
        give_back(taken[MAX_KEPT - 1])


def test_nobody_waits_for_one_that_is_kept(app: Flask) -> None:
    with app.app_context(), ExitStack() as stack:
        for connection in [take(db.engine, "read") for _ in range(MAX_KEPT)]:
            give_back(connection)
        most = pool().size() + pool()._max_overflow
        every = {stack.enter_context(db.engine.connect()).execute(PROCESS).scalar_one() for _ in range(most)}
        assert (len(every), pool().kept) == (most, [])


def test_they_are_closed_with_those_of_the_pool(app: Flask, others: set[int]) -> None:
    with app.app_context():
        for connection in [take(db.engine, "read") for _ in range(3)]:
            give_back(connection)
        assert len(processes(app) - others) == 3
        db.engine.dispose()
    wait_until(lambda: processes(app) <= others)


def test_what_a_failed_block_leaves_open_is_rolled_back(app: Flask) -> None:
    with app.app_context():
        used = set()
        with suppress(ZeroDivisionError), writing():
            used.add(process_of_block())
            db.session.execute(sa.text("CREATE TEMPORARY TABLE left_behind (id int)"))
            raise ZeroDivisionError
        with writing():
            assert used == {process_of_block()}
            assert db.session.scalar(sa.text("SELECT to_regclass('left_behind')")) is None


def test_one_in_the_middle_of_a_statement_is_not_kept(app: Flask) -> None:
    with app.app_context():
        connection = take(db.engine, "read")
        driver: Any = connection.connection.dbapi_connection
        driver.pgconn.send_query(b"SELECT pg_sleep(30)")
        give_back(connection)
        assert (pool().kept, pool().checkedout()) == ([], 0)
        with reading():
            process_of_block()
