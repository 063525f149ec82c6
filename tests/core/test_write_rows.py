"""Statements past SQLAlchemy's cursor: rows are written all or none, and errors are those of SQLAlchemy."""

import pytest
import sqlalchemy as sa
from flask import Flask

from app.assets.models import Asset
from app.core.db.dialects.postgresql import statements
from app.core.db.statements import write_rows
from app.core.db.unit_of_work import db, writing
from app.core.jobs.queue import Job
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.datacenters.routes import resource as datacenters
from app.resource.rows import projection_of
from tests.backends import on_servers
from tests.factories import Make
from tests.sessions import end_session, number_of_session

COLUMNS = ("kind", "subject_id", "origin", "state", "attempts", "created_at")


def write(*subjects: int | None) -> None:
    now = utcnow()
    write_rows(Job.__table__, COLUMNS, (("test", subject, {"by": "a test"}, "queued", 0, now) for subject in subjects))


def test_a_statement_is_printed_without_a_database() -> None:
    """As SQLAlchemy does where it puts a statement into an error."""
    price = Asset.__table__.c.purchase_price
    statement = sa.select(sa.func.json_member(Asset.__table__.c.attributes, "x")).where(price == sa.bindparam("p"))
    assert "purchase_price" in str(statement)


def stored(app: Flask) -> list[int]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Job.subject_id).order_by(Job.id)))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_every_part_is_written(app: Flask, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(statements, "ROWS_A_COPY", 2)
    with app.app_context():
        write(*range(count))
        db.session.commit()
    assert stored(app) == list(range(count))


def test_one_that_is_refused_undoes_them_all(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "ROWS_A_COPY", 2)
    with app.app_context():
        with pytest.raises(sa.exc.IntegrityError):
            write(1, 2, 3, None)
        db.session.rollback()
    assert stored(app) == []


@on_servers
@pytest.mark.parametrize("statement", ["query", "write"])
def test_a_connection_that_is_lost_amid_a_transaction(app: Flask, make: Make, statement: str) -> None:
    """It is said to be lost, which makes the answer a 503, and another one serves the next transaction."""
    site = make(Datacenter).id

    def query() -> int:
        return len(projection_of(datacenters).one.rows({"identity": site}))

    def lose_and_run() -> None:
        with writing():
            end_session(db.engine.url, number_of_session(db.session.connection()))
            query() if statement == "query" else write(1)

    with app.app_context():
        with pytest.raises(sa.exc.DBAPIError) as raised:
            lose_and_run()
        assert raised.value.connection_invalidated
        with writing():
            assert query() == 1
