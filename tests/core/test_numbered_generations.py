"""PostgreSQL numbers the commits that change a table: by these numbers every process knows what is out of date."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from app.core.cache.generations import generations_of_app
from app.core.db.dialects.postgresql import commits
from app.core.db.unit_of_work import db, touch, writing
from app.datacenters.models import Datacenter
from tests.backends import on_postgresql
from tests.client import Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.openapi import Document

pytestmark = on_postgresql


@contextmanager
def other_session(app: Flask) -> Iterator[sa.Connection]:
    """A connection of another program."""
    with app.app_context():
        url = db.engine.url
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def numbers(connection: sa.Connection) -> int:
    """The number of the last commit that has changed a datacenter."""
    number: int = connection.scalar(sa.text("SELECT last_value FROM datacenters_commits"))
    return number


def names(client: Client) -> list[str]:
    return [site["name"] for site in client.call("GET", "/api/datacenters")["data"]]


def change_without_announcing(connection: sa.Connection, name: str) -> None:
    """Rename all datacenters behind the back of every process, which therefore show what they have cached."""
    connection.execute(sa.text("SET session_replication_role = replica"))
    connection.execute(sa.text("UPDATE datacenters SET name = :name || id"), {"name": name})


def test_processes_without_redis_see_what_others_write(
    build_app: BuildApp, document: Document, admin: Client, make: Make
) -> None:
    site = f"/api/datacenters/{make(Datacenter, name='a').id}"
    writer, reader = (Client(build_app(REDIS_URL=None), document, admin.token) for _ in range(2))
    for name in "bcd":
        writer.call("PATCH", site, json={"name": name})
        assert names(reader) == names(reader) == [name]


def test_a_page_is_cached(app: Flask, admin: Client, make: Make) -> None:
    """Those below rely on it."""
    make(Datacenter, name="a")
    assert names(admin) == ["a"]
    with other_session(app) as other:
        change_without_announcing(other, "b")
    assert names(admin) == ["a"]


def test_nothing_is_read_from_the_cache_while_a_job_commits(app: Flask, admin: Client, make: Make) -> None:
    make(Datacenter, name="a")
    assert names(admin) == ["a"]
    with other_session(app) as other:
        change_without_announcing(other, "b")
        other.execute(sa.text(f"SELECT pg_advisory_lock({commits.LOCK})"))
        assert names(admin)[0].startswith("b")


def test_a_job_does_not_wait_long_for_who_holds_its_lock(
    app: Flask, admin: Client, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any account that can connect to the database may do so."""
    monkeypatch.setattr(commits, "LOCK_ATTEMPTS", 3)
    site = make(Datacenter, name="a")
    assert names(admin) == ["a"]
    with other_session(app) as other:
        other.execute(sa.text(f"SELECT pg_advisory_lock({commits.LOCK})"))
        with app.app_context(), writing():
            db.session.get_one(Datacenter, site.id).name = "b"
    assert names(admin) == ["b"]


def test_a_commit_of_a_job_that_fails_keeps_no_lock(app: Flask, admin: Client, make: Make) -> None:
    site = make(Datacenter, name="a")
    assert names(admin) == ["a"]
    unrecorded = sa.text("UPDATE datacenters SET name = 'b', version = version + 1")

    def change() -> None:
        with app.app_context(), writing():
            db.session.execute(unrecorded)
            touch("datacenters")

    with pytest.raises(DBAPIError):
        change()
    with other_session(app) as other:
        assert other.scalar(sa.text(f"SELECT pg_try_advisory_lock({commits.LOCK})"))
    assert names(admin) == ["a"]
    with app.app_context(), writing():
        db.session.get_one(Datacenter, site.id).name = "c"
    assert names(admin) == ["c"]


@pytest.fixture
def exhausted(app: Flask) -> Iterator[Callable[[], Any]]:
    """The number of datacenters has no successor; what is yielded gives it one."""
    with other_session(app) as other:
        other.execute(sa.text(f"ALTER SEQUENCE datacenters_commits MAXVALUE {numbers(other)}"))
        end = partial(other.execute, sa.text("ALTER SEQUENCE datacenters_commits NO MAXVALUE"))
        yield end
        end()


def test_a_number_that_cannot_be_moved(app: Flask, admin: Client, make: Make, request: pytest.FixtureRequest) -> None:
    """What was committed is answered, and nothing is read from the cache of this process until the number has moved."""
    make(Datacenter, name="a")
    assert names(admin) == ["a"]
    with other_session(app) as other:
        last = numbers(other)
        mend = request.getfixturevalue("exhausted")
        admin.call("POST", "/api/datacenters", json={"name": "b"}, expect=201)
        assert names(admin) == ["a", "b"]
        change_without_announcing(other, "c")
        assert [name[0] for name in names(admin)] == ["c", "c"]
        mend()
        assert [name[0] for name in names(admin)] == ["c", "c"]
        assert numbers(other) > last


def test_a_sequence_of_another_program_counts_nothing(app: Flask) -> None:
    """Its name would be part of the statements of every request."""
    with other_session(app) as other:
        other.execute(sa.text("""CREATE SEQUENCE "'); SELECT ('_commits" """))
        other.execute(sa.text("CREATE SEQUENCE outbox_commits"))
        other.execute(sa.text("CREATE ROLE itam_test_other"))
        try:
            other.execute(sa.text("ALTER SEQUENCE outbox_commits OWNER TO itam_test_other"))
            assert set(commits.numbered(other)).isdisjoint({"'); SELECT (", "outbox"})
        finally:
            other.execute(sa.text("""DROP SEQUENCE outbox_commits, "'); SELECT ('_commits" """))
            other.execute(sa.text("DROP ROLE itam_test_other"))


def test_a_database_without_numbers(
    app: Flask, build_app: BuildApp, document: Document, admin: Client, make: Make
) -> None:
    """One of an earlier schema: nothing is cached, and everything is answered."""
    site = f"/api/datacenters/{make(Datacenter, name='a').id}"
    with other_session(app) as other:
        tables = commits.numbered(other)
        for table in tables:
            other.execute(sa.text(f"ALTER SEQUENCE {table}_commits RENAME TO {table}_kept"))
        try:
            old = build_app()
            client = Client(old, document, admin.token)
            with old.app_context():
                generations_of_app().renew()
            assert names(client) == ["a"]
            client.call("PATCH", site, json={"name": "b"})
            assert names(client) == ["b"]
            client.call("GET", "/api/dashboard")
        finally:
            for table in tables:
                other.execute(sa.text(f"ALTER SEQUENCE {table}_kept RENAME TO {table}_commits"))


def test_numbers_are_not_used_twice(app: Flask) -> None:
    """An older backup of the database has smaller numbers."""
    with other_session(app) as other:
        last = numbers(other)
        other.execute(sa.text("SELECT setval('datacenters_commits', 1)"))
        with app.app_context():
            generations_of_app().renew()
        assert numbers(other) > last
