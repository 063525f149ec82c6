"""Writes of one object: the round trips that they take."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.db.connections import counts
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.backends import Backend
from tests.client import Client
from tests.factories import Make


@contextmanager
def statements() -> Iterator[list[str]]:
    """The first words of the statements that this thread sends."""
    words: list[str] = []
    counts.trace = []
    try:
        yield words
        words += [text.split()[0] for text, _, _ in counts.trace]
    finally:
        counts.trace = None


class TestRoundTrips:
    """Who asks, BEGIN, and at most two more; the COMMIT is no statement of a cursor."""

    before = ["SELECT", "BEGIN", "SELECT"]

    def written(self, backend: Backend, change: str) -> list[str]:
        return [*self.before, *(["WITH"] if backend.name == "postgresql" else [change, "INSERT", "SELECT"])]

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
