"""A request is one transaction: all of it or nothing, begun again where only the database is to blame."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Barrier
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError
from werkzeug.datastructures import MultiDict

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import ATTEMPTS, db, reading, transactional, unit_of_work, writing
from app.datacenters.models import Datacenter
from app.resource import Resource, routes
from app.resource.query.list_query import ListQuery, parse_query
from tests.backends import Backend, on_servers
from tests.client import Client
from tests.factories import Make
from tests.sessions import end_all_sessions, end_session
from tests.threads import TIMEOUT_SECONDS, run_concurrently

DEADLOCKS = {
    "postgresql": psycopg.errors.DeadlockDetected(),
    "mariadb": pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction"),
}


def run(app: Flask, view: Callable[[], Any], method: str = "POST") -> Any:
    """Run a view as one transaction, as a route would."""
    with app.test_request_context("/", method=method):
        return transactional(view, reading if method == "GET" else writing)()


def count(app: Flask, model: type[Any] = Datacenter) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


def test_what_returns_is_committed(app: Flask) -> None:
    run(app, lambda: db.session.add(Datacenter(name="kept")))
    assert (count(app), count(app, AuditLog)) == (1, 1)


@pytest.mark.parametrize("mistake", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_raises_leaves_nothing(app: Flask, mistake: type[BaseException]) -> None:
    def view() -> None:
        db.session.add(Datacenter(name="lost"))
        db.session.flush()
        raise mistake

    with pytest.raises(mistake):
        run(app, view)
    assert (count(app), count(app, AuditLog)) == (0, 0)


def test_a_change_whose_record_cannot_be_written_is_undone(app: Flask, make: Make, admin: Client) -> None:
    identity = make(Datacenter, name="as it was").id
    with app.app_context():
        # As if it had been recorded already: the next record of this version is one too many.
        db.session.execute(
            sa.insert(AuditLog.__table__).values(
                created_at=sa.select(AuditLog.created_at).limit(1).scalar_subquery(),
                action="update",
                resource_type="datacenters",
                resource_id=identity,
                version=2,
                changes={},
                request_id="x" * 8,
                mac="x",
            )
        )
        db.session.commit()
    headers = {"Authorization": f"Bearer {admin.token}"}
    answer = app.test_client().patch(f"/api/datacenters/{identity}", json={"name": "changed"}, headers=headers)
    assert (answer.status_code, answer.json["data"]) == (500, {"reason": "internal_error"})  # type: ignore[index]
    assert admin.call("GET", f"/api/datacenters/{identity}")["data"]["name"] == "as it was"


def test_a_violated_constraint_is_not_tried_again(app: Flask, make: Make) -> None:
    make(Datacenter, name="taken")
    attempts = []

    def view() -> None:
        attempts.append(1)
        db.session.add(Datacenter(name="TAKEN"))

    with pytest.raises(IntegrityError):
        run(app, view)
    assert len(attempts) == 1


@on_servers
def test_a_deadlock_is_tried_again_a_few_times(app: Flask, backend: Backend) -> None:
    attempts = []

    def view() -> None:
        attempts.append(1)
        raise OperationalError("UPDATE", {}, DEADLOCKS[backend.name])

    with pytest.raises(OperationalError):
        run(app, view)
    assert len(attempts) == ATTEMPTS


@pytest.mark.race
@on_servers
def test_of_two_that_wait_for_each_other_both_succeed(app: Flask, make: Make) -> None:
    ids = [make(Datacenter).id, make(Datacenter).id]
    gate = Barrier(2)
    attempts: list[str] = []

    def change(name: str, order: list[int]) -> None:
        attempts.append(name)
        first = attempts.count(name) == 1
        db.session.get_one(Datacenter, order[0], with_for_update=True).description = name
        db.session.flush()
        if first:
            # Now each holds what the other one wants.
            gate.wait(TIMEOUT_SECONDS)
        with db.session.begin_nested():
            db.session.get_one(Datacenter, order[1], with_for_update=True).location = name

    run_concurrently([partial(run, app, partial(change, "a", ids)), partial(run, app, partial(change, "b", ids[::-1]))])
    # One of them has begun again; on a busy machine, more than once.
    assert len(attempts) > 2
    with app.app_context():
        changed = db.session.scalars(sa.select(Datacenter).order_by(Datacenter.id)).all()
        assert [(one.version, one.description, one.location) for one in changed] == [(3, "a", "b"), (3, "b", "a")]


@pytest.mark.race
def test_many_writers_at_once_all_succeed(app: Flask, admin: Client) -> None:
    """SQLite has one writer at a time: the others wait, and nobody hears of it."""
    create = partial(admin.call, "POST", "/api/datacenters", expect=201)
    run_concurrently([partial(create, json={"name": f"dc-{number}"}) for number in range(16)])
    assert count(app) == 16


def end_connection(connection: sa.Connection) -> None:
    """Have the server end it."""
    driver: Any = connection.connection.dbapi_connection
    is_postgresql = connection.dialect.name == "postgresql"
    end_session(connection.engine.url, driver.info.backend_pid if is_postgresql else driver.thread_id())


@contextmanager
def connections_that_die(app: Flask, table: str, times: int) -> Iterator[list[Any]]:
    """The first `times` statements about a table find that the server has ended their connection."""
    with app.app_context():
        engine = db.engine
    killed: list[Any] = []

    def kill(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        # SQLAlchemy runs a statement that has failed again, to tell why; psycopg refuses it before, PyMySQL does not.
        driver = connection.connection.dbapi_connection
        if table not in statement or driver in killed or len(killed) >= times:
            return
        killed.append(driver)
        end_connection(connection)

    sa.event.listen(engine, "before_cursor_execute", kill)
    try:
        yield killed
    finally:
        sa.event.remove(engine, "before_cursor_execute", kill)


@on_servers
def test_a_read_survives_a_connection_that_dies(app: Flask, make: Make, admin: Client) -> None:
    identity = make(Datacenter).id
    with connections_that_die(app, "datacenters", 1) as killed:
        assert admin.call("GET", f"/api/datacenters/{identity}")["data"]["id"] == identity
    assert len(killed) == 1


@on_servers
def test_so_does_a_page_whose_statement_was_given_to_the_driver(
    make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[ListQuery] = []

    def parse(resource: Resource, arguments: MultiDict[str, str], **options: Any) -> ListQuery:
        if not parsed:
            end_connection(unit_of_work().reading_connection())
        parsed.append(parse_query(resource, arguments, **options))
        return parsed[-1]

    monkeypatch.setattr(routes, "parse_query", parse)
    identity = make(Datacenter).id
    assert [row["id"] for row in admin.call("GET", "/api/datacenters")["data"]] == [identity]
    assert len(parsed) == 2


@on_servers
def test_a_read_is_repeated_once(app: Flask, make: Make, admin: Client) -> None:
    identity = make(Datacenter).id
    with connections_that_die(app, "datacenters", 2) as killed:
        response = admin.send("GET", f"/api/datacenters/{identity}", expect=503)
        assert int(response.headers["Retry-After"]) > 0
    assert len(killed) == 2
    admin.call("GET", f"/api/datacenters/{identity}")


@on_servers
@pytest.mark.parametrize("table", ["UPDATE datacenters", "INSERT INTO audit_logs"])
def test_a_write_is_not_repeated(app: Flask, table: str, make: Make, admin: Client) -> None:
    """Nobody knows how far it came."""
    identity = make(Datacenter, name="as it was").id
    with connections_that_die(app, table, 1) as killed:
        response = admin.send("PATCH", f"/api/datacenters/{identity}", json={"name": "changed"}, expect=503)
        assert int(response.headers["Retry-After"]) > 0
    assert len(killed) == 1
    assert admin.call("GET", f"/api/datacenters/{identity}")["data"]["name"] == "as it was"
    admin.call("PATCH", f"/api/datacenters/{identity}", json={"name": "changed"})


@on_servers
def test_a_write_survives_that_all_connections_died_before(app: Flask, make: Make, admin: Client) -> None:
    identity = make(Datacenter).id
    with app.app_context():
        url = db.engine.url
    end_all_sessions(url)
    admin.call("PATCH", f"/api/datacenters/{identity}", json={"name": "changed"})
