"""Writes of one object: the round trips that they take, and their turns on SQLite."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from flask import Flask

from app.core.db.dialects.sqlite import connections
from app.core.db.dialects.sqlite.writer_queue import WriterQueue
from app.core.db.measurement import counts
from app.core.db.unit_of_work import db
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.backends import Backend, on_sqlite
from tests.client import Client
from tests.factories import Make
from tests.threads import TIMEOUT_SECONDS, wait_until


@contextmanager
def statements() -> Iterator[list[str]]:
    """The first words of the statements that this thread sends; without SET, by which MySQL limits waits."""
    words: list[str] = []
    counts.trace = []
    try:
        yield words
        words += [text.split()[0] for text, _, _ in counts.trace if not text.startswith("SET ")]
    finally:
        counts.trace = None


class TestRoundTrips:
    """Who asks, BEGIN, and at most two more; the COMMIT is no statement of a cursor."""

    before = ["SELECT", "BEGIN", "SELECT"]

    def written(self, backend: Backend, change: str) -> list[str]:
        if backend.name == "postgresql":
            return [*self.before, "WITH"]
        # An UPDATE of MariaDB returns nothing: the row is locked and its key read before.
        locking = ["SELECT"] if (backend.name, change) == ("mariadb", "UPDATE") else []
        return [*self.before, *locking, change, "INSERT", "SELECT"]

    def test_a_creation(self, backend: Backend, admin: Client, make: Make) -> None:
        body = {"name": "a", "datacenter_id": make(Datacenter).id, "tags": ["x"]}
        admin.call("POST", "/api/servers", json={**body, "name": "b"}, expect=201)
        with statements() as words:
            created = admin.call("POST", "/api/servers", json=body, expect=201)["data"]
        assert words == self.written(backend, "INSERT")
        assert created == admin.call("GET", f"/api/servers/{created['id']}")["data"]

    def test_a_change(self, backend: Backend, admin: Client, make: Make) -> None:
        server, datacenter = make(Server), make(Datacenter)
        with statements() as words:
            changed = admin.call("PATCH", f"/api/servers/{server.id}", json={"datacenter_id": datacenter.id})["data"]
        assert words == self.written(backend, "UPDATE")
        assert changed["datacenter"] == {"id": datacenter.id, "name": datacenter.name}

    def test_one_that_changes_nothing(self, admin: Client, make: Make) -> None:
        server = make(Server, owner="team")
        with statements() as words:
            unchanged = admin.call("PATCH", f"/api/servers/{server.id}", json={"owner": "team"})["data"]
        assert (words, unchanged["version"]) == ([*self.before, "SELECT"], server.version)


class TestWriterQueue:
    def test_turns_are_in_the_order_of_asking(self) -> None:
        queue = WriterQueue()
        first, served, threads = queue.take(0), [], []

        def write(number: int) -> None:
            turn = queue.take(TIMEOUT_SECONDS)
            served.append(number)
            queue.leave(turn)

        for number in range(4):
            threads.append(Thread(target=write, args=[number]))
            threads[-1].start()
            wait_until(lambda: len(queue) > len(threads))
        assert served == []
        queue.leave(first)
        for thread in threads:
            thread.join(TIMEOUT_SECONDS)
        assert served == [0, 1, 2, 3]

    def test_who_gives_up_is_passed_over(self) -> None:
        queue = WriterQueue()
        first = queue.take(0)
        given_up, last = queue.take(0), queue.take(0)
        queue.leave(given_up)
        queue.leave(first)
        assert (given_up.is_set(), last.is_set()) == (False, True)

    @on_sqlite
    def test_a_connection_that_is_given_up_leaves_the_queue(self, app: Flask) -> None:
        """As where a process is told to stop within a statement: others would wait for its turn in vain."""
        with app.app_context():
            with db.engine.connect() as connection:
                connection.begin()
                waiting = len(connections._writers[db.engine.pool])
                connection.invalidate()
            assert (waiting, len(connections._writers[db.engine.pool])) == (1, 0)
