"""A change whose audit record cannot be written is undone: nothing of it is stored, mailed or announced."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.cache.generations import generations_of_app
from app.core.db.unit_of_work import db, reading
from app.core.mail.outbox import Outbox
from app.datacenters.models import Datacenter
from app.users.models import User
from tests.backends import Backend
from tests.client import Client
from tests.factories import Make

# As on a full disk, and as by a bug of ours.
FULL = {
    "postgresql": (
        (
            "CREATE FUNCTION refuse_record() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$"
        ),
        "CREATE TRIGGER refuse_record BEFORE INSERT ON audit_logs EXECUTE FUNCTION refuse_record()",
    ),
    "mariadb": (
        (
            "CREATE TRIGGER refuse_record BEFORE INSERT ON audit_logs FOR EACH ROW "
            "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'full'"
        ),
    ),
    "sqlite": ("CREATE TRIGGER refuse_record BEFORE INSERT ON audit_logs BEGIN SELECT json('{'); END",),
}
FREED = {
    "postgresql": ("DROP FUNCTION refuse_record CASCADE",),
    "mariadb": ("DROP TRIGGER refuse_record",),
    "sqlite": ("DROP TRIGGER refuse_record",),
}
STATUS = {"postgresql": 503, "mariadb": 503, "sqlite": 500}


def execute(app: Flask, statements: tuple[str, ...]) -> None:
    with app.app_context(), db.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def full_log(app: Flask, backend: Backend) -> Iterator[int]:
    """The database takes no record; the status of a write."""
    execute(app, FULL[backend.name])
    yield STATUS[backend.name]
    execute(app, FREED[backend.name])


def state(app: Flask) -> Any:
    """The rows, the mails, and the generations of what is cached."""
    with app.app_context(), reading():
        rows = [db.session.execute(sa.select(model.__table__).order_by("id")).all() for model in (Datacenter, User)]
        mails = db.session.scalar(sa.select(sa.func.count()).select_from(Outbox))
        return rows, mails, generations_of_app().read(["datacenters", "users"])


def test_a_change_without_its_record(app: Flask, make: Make, admin: Client, request: pytest.FixtureRequest) -> None:
    site, user = make(Datacenter, name="SH-1"), make(User)
    for path in ("datacenters", "users"):
        admin.call("GET", f"/api/{path}")
    before = state(app)
    status = request.getfixturevalue("full_log")
    client = app.test_client()
    one, many = f"/api/datacenters/{site.id}", "/api/datacenters/bulk"
    writes: list[tuple[str, str, Any]] = [
        ("POST", "/api/datacenters", {"name": "BJ-1"}),
        ("PATCH", one, {"name": "BJ-1"}),
        ("DELETE", one, None),
        ("PATCH", many, {"items": [{"id": site.id, "name": "BJ-1"}]}),
        ("POST", many, {"items": [{"name": "BJ-1"}, {"name": "BJ-2"}]}),
        ("PATCH", f"/api/users/{user.id}", {"password": "another long password"}),
    ]
    for method, path, body in writes:
        # Not by `admin`: no operation documents a 500.
        answer = client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {admin.token}"})
        assert (answer.status_code, state(app)) == (status, before), (method, path)
    assert before[2][0] is not None
