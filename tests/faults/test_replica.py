"""A standby of PostgreSQL: what was written is read through every server, and nobody notices where it is away."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import flask_migrate
import pytest

from app import create_app
from app.core.cache import replica
from app.core.cache.replica import Replica, reads
from app.core.db.schema import MIGRATIONS
from app.core.http.access import Role
from app.users.models import User
from tests import backends
from tests.backends import REDIS_URL, RUN, WORKER, delete_keys, on_postgresql
from tests.client import PASSWORD, Client
from tests.conftest import close
from tests.factories import Make
from tests.faults.cluster import Cluster
from tests.openapi import Document
from tests.threads import wait_until

pytestmark = on_postgresql

ROUNDS = 100
PREFIX = f"itam-{RUN}-{WORKER}-replica"
SERVERS = "/api/servers"
REPLAYED = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"


class Estate(NamedTuple):
    """Two servers on a PostgreSQL with a standby, and an administrator at each."""

    one: Client
    other: Client
    database: str
    standby: Cluster

    def replica(self) -> Replica:
        replica: Replica = self.other.app.extensions["replica"]
        return replica


@pytest.fixture(scope="module")
def estate(cluster: Cluster, document: Document, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    uploads = tmp_path_factory.mktemp("replica") / "uploads"
    with ExitStack() as stack:
        name = stack.enter_context(cluster.database())
        standby = stack.enter_context(cluster.standby())
        settings = backends.testing(cluster.url(name), REDIS_URL, uploads, PREFIX)
        settings.DATABASE_REPLICA_URL = standby.url(name)
        stack.callback(delete_keys, PREFIX)
        one, other = (create_app(settings) for _ in range(2))
        for app in (one, other):
            stack.callback(close, app)
            stack.callback(app.extensions["replica"].close)
        with one.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
        user = Make(one)(User, role=Role.ADMIN)
        signed_in = Client(one, document).call(
            "POST", "/api/auth/login", json={"username": user.username, "password": PASSWORD}
        )
        token = signed_in["data"]["access_token"]
        yield Estate(Client(one, document, token), Client(other, document, token), name, standby)


@contextmanager
def counted() -> Iterator[dict[str, float]]:
    """How many reads had which result, while the block runs."""
    results = ("replica", "behind", "away", "unknown")
    before = {name: reads.labels(name)._value.get() for name in results}
    counts: dict[str, float] = {}
    yield counts
    counts.update({name: reads.labels(name)._value.get() - before[name] for name in results})


def state(client: Client) -> tuple[str, str]:
    body = client.call("GET", "/api/health/ready")["data"]
    return body["status"], body["replica"]


def test_what_one_server_wrote_is_read_through_another(estate: Estate) -> None:
    path = f"{SERVERS}/{estate.one.call('POST', SERVERS, json={'name': 'a'}, expect=201)['data']['id']}"
    stale = []
    with counted() as counts:
        for number in range(ROUNDS):
            owner = f"team {number}"
            estate.one.call("PATCH", path, json={"owner": owner})
            read = [
                estate.other.call("GET", path)["data"]["owner"],
                estate.other.call("GET", f"{SERVERS}?name=a")["data"][0]["owner"],
                # From the cache, if it is stored there.
                estate.other.call("GET", f"{SERVERS}?name=a")["data"][0]["owner"],
            ]
            stale += [(owner, owner_read) for owner_read in read if owner_read != owner]
        wait_until(lambda: state(estate.other)[1] == "ok")
        for _ in range(3):
            estate.other.call("GET", path)
    assert not stale
    assert counts["replica"] > 0
    assert counts["unknown"] == counts["away"] == 0


def test_a_standby_that_is_behind_is_not_asked(estate: Estate) -> None:
    created = estate.one.call("POST", SERVERS, json={"name": "behind"}, expect=201)["data"]
    path = f"{SERVERS}/{created['id']}"
    with estate.standby.connect() as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",))
        answer = estate.one.send("PATCH", path, json={"owner": "new"})
        with counted() as counts:
            assert estate.other.call("GET", path)["data"]["owner"] == "new"
            assert estate.other.call("GET", f"{SERVERS}?name=behind")["data"][0]["owner"] == "new"
        assert (counts["replica"], counts["behind"]) == (0, 2)
        connection.execute("SELECT pg_wal_replay_resume()")
        position = answer.headers["X-Database-Position"]
        wait_until(lambda: connection.execute(REPLAYED, [position]).fetchone() == (True,))
    with counted() as counts:
        assert estate.other.call("GET", path, headers={"X-Database-Position": position})["data"]["owner"] == "new"
    assert (counts["replica"], counts["behind"]) == (1, 0)


def test_what_the_standby_cannot_answer(estate: Estate, cluster: Cluster) -> None:
    """Whatever its error is, the request is run again on the primary."""
    estate.one.call("POST", "/api/tasks", json={"title": "seen"}, expect=201)
    with cluster.connect(estate.database) as primary, estate.standby.connect() as standby:
        # An unlogged table cannot be read on a standby.
        primary.execute("ALTER TABLE tasks SET UNLOGGED")
        position = primary.execute("SELECT pg_current_wal_lsn()").fetchone()
        wait_until(lambda: standby.execute(REPLAYED, position).fetchone() == (True,))
        with counted() as counts:
            assert [task["title"] for task in estate.other.call("GET", "/api/tasks")["data"]] == ["seen"]
        primary.execute("ALTER TABLE tasks SET LOGGED")
    assert counts["replica"] == 1


def test_the_position_of_a_client_counts_where_redis_has_not_told(estate: Estate) -> None:
    path = f"{SERVERS}/{estate.one.call('POST', SERVERS, json={'name': 'ahead'}, expect=201)['data']['id']}"
    with counted() as counts:
        estate.other.call("GET", path, headers={"X-Database-Position": "FFFFFF/0"})
        estate.other.call("GET", path, headers={"X-Database-Position": "yesterday"})
    assert (counts["behind"], counts["unknown"]) == (1, 1)


def test_a_standby_that_is_away(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{SERVERS}/{estate.one.call('POST', SERVERS, json={'name': 'away'}, expect=201)['data']['id']}"
    wait_until(lambda: state(estate.other) == ("ok", "ok"))
    estate.other.call("GET", path)
    estate.standby.stop()
    try:
        with counted() as counts:
            for number in range(10):
                estate.one.call("PATCH", path, json={"owner": f"{number}"})
                assert estate.other.call("GET", path)["data"]["owner"] == f"{number}"
                estate.other.call("GET", f"{SERVERS}?sort=-owner&name__ne={number}")
        assert counts["replica"] <= 1
        assert counts["away"] > 0
        assert state(estate.other) == ("degraded", "down")
    finally:
        estate.standby.start()
    monkeypatch.setattr(estate.replica(), "_paused_until", 0.0)
    monkeypatch.setattr(replica, "PAUSE_SECONDS", 0.0)

    def is_used() -> bool:
        with counted() as counts:
            assert estate.other.call("GET", path)["data"]["owner"] == "9"
        return counts["replica"] == 1

    wait_until(is_used)


def test_metrics_show_the_standby(estate: Estate) -> None:
    shown = estate.one.app.test_client().get("/metrics").get_data(as_text=True)
    assert "itam_replica_up 1.0" in shown
    assert "itam_replica_lag_bytes" in shown


def test_a_standby_that_was_promoted_is_not_asked(estate: Estate) -> None:
    """The last test of the module: the standby is none any more."""
    with estate.standby.connect() as connection:
        connection.execute("SELECT pg_promote()")
    path = f"{SERVERS}/{estate.one.call('POST', SERVERS, json={'name': 'after'}, expect=201)['data']['id']}"
    with counted() as counts:
        assert estate.other.call("GET", path)["data"]["name"] == "after"
    assert counts["replica"] == 0
    assert state(estate.other) == ("degraded", "down")
