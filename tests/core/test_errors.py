"""What goes wrong becomes one of our answers, on either database, and never shows what is inside."""

import errno
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.errors import from_database
from app.core.db.models import Base
from app.core.db.unit_of_work import db
from app.core.errors import ApiError, BadRequest, Conflict, Forbidden, Invalid, dotted
from app.core.http.access import public
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.services.models import ONE_PARENT, Service
from tests.backends import Backend, on_sqlite
from tests.client import CANARIES, Client, check_envelope
from tests.conftest import BuildApp
from tests.factories import Make
from tests.openapi import Document
from tests.threads import run_concurrently


def refused(app: Flask, target: Base) -> ApiError:
    """The failure that an object becomes which the database refuses."""
    with app.app_context():
        db.session.add(target)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            db.session.flush()
        db.session.rollback()
        return from_database(caught.value)


def test_a_value_that_is_taken(app: Flask, make: Make) -> None:
    make(Datacenter, name="Shanghai", code="SH")
    by_name = refused(app, Datacenter(name="SHANGHAI"))
    assert isinstance(by_name, Conflict)
    assert (by_name.reason, by_name.errors) == ("taken", {"name": ["Already taken."]})
    by_code = refused(app, Datacenter(name="Suzhou", code="SH"))
    assert by_code.errors == {"code": ["Already taken."]}


def test_a_value_that_looks_like_a_table(app: Flask, make: Make) -> None:
    """Nothing is read from the values that a driver quotes."""
    name = 'audit_logs.x "uq_servers_asset_tag" UNIQUE constraint failed: audit_logs.id'
    make(Datacenter, name=name)
    assert refused(app, Datacenter(name=name)).errors == {"name": ["Already taken."]}


def test_an_object_that_does_not_exist(app: Flask) -> None:
    error = refused(app, Gpu(model="H100", server_id=987_654_321))
    assert (error.status, error.reason) == (409, "reference")


def test_a_value_that_is_missing(app: Flask) -> None:
    error = refused(app, Datacenter(name=None))
    assert isinstance(error, Invalid)
    assert error.errors == {"name": ["Not allowed."]}


def test_a_check_says_what_it_was_declared_with(app: Flask) -> None:
    error = refused(app, Service(name="orphan"))
    assert isinstance(error, Invalid)
    assert error.errors == {"container_id": [ONE_PARENT], "server_id": [ONE_PARENT]}


def test_nested_messages_are_dotted() -> None:
    nested = {"ports": {0: {"host_port": ["Too large."]}, 2: ["Not a port."]}, "_schema": ["No."], "name": ["Long."]}
    assert dotted(nested) == {
        "ports.0.host_port": ["Too large."],
        "ports.2": ["Not a port."],
        "_schema": ["No."],
        "name": ["Long."],
    }


RAISED: tuple[tuple[BaseException, int, dict[str, Any]], ...] = (
    (BadRequest("No."), 400, {"reason": "bad_request"}),
    (
        Invalid(errors={"a": {"b": ["Wrong."]}}),
        422,
        {
            "reason": "invalid",
            "errors": {"a.b": ["Wrong."]},
            "problems": {"a.b": [{"rule": "invalid", "message": "Wrong."}]},
        },
    ),
    (Conflict("No.", reason="held", holder={"id": 1}), 409, {"reason": "held", "holder": {"id": 1}}),
    (Forbidden("No.", headers={"X-Why": "so"}), 403, {"reason": "forbidden"}),
    (ValueError("secret: $2b$ SELECT 1 FROM psycopg"), 500, {"reason": "internal_error"}),
    (KeyError("/etc/passwd"), 500, {"reason": "internal_error"}),
    (RecursionError(), 500, {"reason": "internal_error"}),
    (MemoryError(), 500, {"reason": "internal_error"}),
    (OSError(errno.EMFILE, "Too many open files"), 503, {"reason": "storage_unavailable"}),
    (OSError(errno.ENOSPC, "No space left on device"), 503, {"reason": "storage_unavailable"}),
    (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), 503, {"reason": "storage_unavailable"}),
    (OSError(errno.EPERM, "/etc/passwd"), 500, {"reason": "internal_error"}),
)


def test_what_a_view_raises(build_app: BuildApp) -> None:
    @public
    def view(number: int) -> None:
        raise RAISED[number][0]

    app = build_app()
    app.add_url_rule("/api/boom/<int:number>", "boom", view)
    for number, (error, status, data) in enumerate(RAISED):
        response = app.test_client().get(f"/api/boom/{number}")
        assert response.status_code == status
        check_envelope(response.get_json(), status)
        assert response.get_json()["data"] == data
        assert not [canary for canary in (*CANARIES, "/etc/passwd", "ValueError") if canary in response.text]
        assert response.headers["X-Request-ID"]
        assert all(response.headers[name] == value for name, value in getattr(error, "headers", {}).items())


def prepare_connections(app: Flask, statement: str) -> None:
    """Have every connection of an application begin with this statement."""
    with app.app_context():
        engine = db.engine

    def prepare(connection: Any, _record: Any) -> None:
        connection.cursor().execute(statement)
        if engine.dialect.name == "postgresql":
            connection.commit()

    engine.dispose()
    sa.event.listen(engine, "connect", prepare)


READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET default_transaction_read_only = on",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


def test_a_database_that_is_read_only(
    build_app: BuildApp, backend: Backend, document: Document, make: Make, admin: Client
) -> None:
    other = build_app()
    prepare_connections(other, READ_ONLY[backend.name])
    assert_takes_no_change(Client(other, document, admin.token), make(Datacenter).id)


@on_sqlite
def test_a_disk_that_is_full(build_app: BuildApp, document: Document, make: Make, admin: Client) -> None:
    other = build_app()
    prepare_connections(other, "PRAGMA max_page_count = 1")
    assert_takes_no_change(Client(other, document, admin.token), make(Datacenter).id)


def assert_takes_no_change(client: Client, identity: int) -> None:
    """Assert that a change is answered with a 503 and not made, while reading goes on."""
    path = f"/api/datacenters/{identity}"
    response = client.send("PATCH", path, json={"description": "x" * 9000}, expect=503)
    assert int(response.headers["Retry-After"]) > 0
    assert client.call("GET", path)["data"]["description"] is None


IMPATIENT = {
    "sqlite": "PRAGMA busy_timeout = 20",
    "postgresql": "SET lock_timeout = '20ms'",
    "mariadb": "SET innodb_lock_wait_timeout = 1",
}


def test_a_row_that_somebody_holds_for_too_long(
    app: Flask, build_app: BuildApp, backend: Backend, document: Document, make: Make, admin: Client
) -> None:
    identity = make(Datacenter).id
    other = build_app()
    prepare_connections(other, IMPATIENT[backend.name])
    path = f"/api/datacenters/{identity}"
    change = partial(Client(other, document, admin.token).call, "PATCH", path, json={"name": "x"}, expect=503)
    with app.app_context():
        db.session.get_one(Datacenter, identity, with_for_update=True)
        # In a thread of its own, where this transaction is not open.
        (answer,) = run_concurrently([change], lock_seconds=0.02)
        db.session.rollback()
    assert answer["data"]["reason"] == "locked"
    assert "changing" in answer["message"]
    admin.call("PATCH", path, json={"name": "x"})


def test_a_database_that_is_away(
    build_app: BuildApp, backend: Backend, document: Document, admin: Client, tmp_path: Path
) -> None:
    nowhere = {
        "sqlite": f"sqlite:///{tmp_path}/missing/test.db",
        "postgresql": "postgresql+psycopg://postgres@127.0.0.1:1/none",
        "mariadb": "mariadb+pymysql://root@127.0.0.1:1/none",
    }[backend.name]
    client = Client(build_app(SQLALCHEMY_DATABASE_URI=nowhere), document, admin.token)
    credentials = {"username": "somebody", "password": "something"}
    for method, path, options in (
        ("GET", "/api/servers", {}),
        ("POST", "/api/servers", {"json": {"name": "x"}}),
        ("POST", "/api/auth/login", {"json": credentials}),
        ("GET", "/api/health/ready", {}),
    ):
        response = client.send(method, path, expect=503, **options)
        assert int(response.headers["Retry-After"]) > 0
        assert response.json["data"]["reason"] == "unavailable"  # type: ignore[index]
    assert client.call("GET", "/api/health")["data"] == {"status": "ok"}
