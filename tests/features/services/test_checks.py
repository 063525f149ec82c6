"""Health checks: the request, the status that follows from the response, the history, and the schedule."""

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import trustme
from flask import Flask

from app.containers.models import Container
from app.core.db.unit_of_work import db
from app.core.jobs.runner import runner_of
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.servers.models import Server as Machine
from app.services import check_scheduler, health_check
from app.services.models import Service, ServiceCheck, ServiceSchedule
from tests.backends import Backend
from tests.client import Body, Client
from tests.conftest import BuildApp, Statements
from tests.factories import Make
from tests.features.conftest import Upload, rows_of
from tests.http_servers import Behaviour, Server, drips, floods, hangs, response, sends
from tests.mariadb import Mariadb
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, run_concurrently, wait_until

pytestmark = any_database

HEALTHY = sends(response(b"fine"))
LOCAL_NETWORKS = ("127.0.0.0/8", "::1/128")


@pytest.fixture
def outgoing_app(build_app: BuildApp) -> Flask:
    """An application whose OUTGOING_ALLOWED admits this machine."""
    return build_app(OUTGOING_ALLOWED=LOCAL_NETWORKS)


@pytest.fixture
def user(user: Client, outgoing_app: Flask) -> Client:
    return Client(outgoing_app, user.document, user.token, user.user)


@pytest.fixture
def service(make: Make, user: Client) -> Callable[..., Service]:
    """Make a service that the user owns."""

    def service(health_check: str | None, **fields: Any) -> Service:
        return make(Service, created_by_id=user.user.id, health_check=health_check, **fields)

    return service


@pytest.fixture
def healthy() -> Iterator[tuple[Server, str]]:
    """A server that answers 200, and its URL."""
    server = Server(HEALTHY)
    with server.listening() as port:
        yield server, f"http://127.0.0.1:{port}/health"


def check(client: Client, service: Service, **options: Any) -> Body:
    return client.call("POST", f"/api/services/{service.id}/check", **options)["data"]


def read(client: Client, service: Service) -> Body:
    return client.call("GET", f"/api/services/{service.id}")["data"]


def history(client: Client, service: Service, **query: Any) -> Any:
    return client.call("GET", f"/api/services/{service.id}/checks", query_string=query)["data"]


def make_all_due(app: Flask) -> None:
    with app.app_context():
        db.session.execute(sa.update(ServiceSchedule.__table__).values(due_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()


def check_due(app: Flask) -> int:
    with app.app_context():
        return check_scheduler.run_due_checks()


@pytest.mark.parametrize(
    ("behave", "status", "http_status", "problem"),
    [
        (HEALTHY, "healthy", 200, None),
        (sends(response(status="204 No Content")), "healthy", 204, None),
        (floods, "healthy", 200, None),
        (sends(response(status="500 Oops")), "unhealthy", 500, "The service answered 500."),
        (sends(response(status="404 Not Found")), "unhealthy", 404, "The service answered 404."),
        (hangs, "unhealthy", None, "There was no complete answer within 0.4 seconds."),
        (drips(response(X_Long="x" * 1000)), "unhealthy", None, "There was no complete answer within 0.4 seconds."),
        (sends(b"\x00\x1b[31mSSH-2.0\r\n"), "unhealthy", None, "127.0.0.1 gave no complete answer in HTTP."),
        (sends(b""), "unhealthy", None, "127.0.0.1 gave no complete answer in HTTP."),
    ],
    ids=["200", "204", "endless body", "500", "404", "hangs", "drips", "garbage", "empty"],
)
def test_status_follows_from_the_response(
    service: Callable[..., Service],
    user: Client,
    monkeypatch: pytest.MonkeyPatch,
    behave: Behaviour,
    status: str,
    http_status: int | None,
    problem: str | None,
) -> None:
    monkeypatch.setattr(health_check, "TIMEOUT_SECONDS", 0.4 if http_status is None else TIMEOUT_SECONDS)
    with Server(behave).listening() as port:
        target = service(f"http://127.0.0.1:{port}/health")
        result = check(user, target)
    assert (result["status"], result["http_status"], result["problem"]) == (status, http_status, problem)
    assert (result["response_ms"] is None) == (http_status is None)
    assert (result["service_id"], result["checked_by"]) == (target.id, user.user.username)
    now = read(user, target)
    assert (now["status"], now["last_checked_at"]) == (status, result["checked_at"])


def test_redirect_is_reported_and_not_followed(service: Callable[..., Service], user: Client) -> None:
    inside = Server(HEALTHY)
    with inside.listening() as secret:
        moved = sends(response(status="302 Found", Location=f"http://127.0.0.1:{secret}/"))
        with Server(moved).listening() as port:
            result = check(user, service(f"http://127.0.0.1:{port}/"))
    assert (result["status"], result["http_status"]) == ("unhealthy", 302)
    assert "do not follow redirects" in result["problem"]
    assert not inside.contacted.is_set()


def test_invalid_certificate_is_unhealthy(service: Callable[..., Service], user: Client) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("other.example").configure_cert(context)
    with Server(HEALTHY, tls=context).listening() as port:
        result = check(user, service(f"https://127.0.0.1:{port}/"))
    assert result["status"] == "unhealthy"
    assert "certificate of 127.0.0.1 is not valid" in result["problem"]


def test_closed_port_is_unhealthy(service: Callable[..., Service], user: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probed:
        port = probed.getsockname()[1]
    assert check(user, service(f"http://127.0.0.1:{port}/"))["status"] == "unhealthy"


def test_refused_address_is_unknown_and_names_the_setting(
    healthy: tuple[Server, str], make: Make, admin: Client
) -> None:
    """Our own refusal says nothing about the service, so it is not `unhealthy`."""
    server, url = healthy
    target = make(Service, health_check=url, status="healthy")
    result = check(admin, target)
    assert (result["status"], result["http_status"]) == ("unknown", None)
    assert "OUTGOING_ALLOWED" in result["problem"]
    assert read(admin, target)["status"] == "unknown"
    assert not server.contacted.is_set()


@pytest.mark.parametrize(
    ("health_check", "problem"),
    [
        ("http://user:secret@example.com/", "user or a password"),
        ("http://example.com:99999/", "not valid"),
        ("http://[::1/", "not valid"),
        ("http://example.com\\@inside/", "backslash"),
        ("http://example.com/\x85x", "control characters"),
        ("/health\x7fx", "control characters"),
        ("ftp://example.com/", "http or https"),
        ("health", "http or https"),
    ],
)
def test_health_check_must_be_a_url_or_a_path(user: Client, make: Make, health_check: str, problem: str) -> None:
    body = {"name": "web", "server_id": make(Machine).id, "health_check": health_check}
    answer = user.call("POST", "/api/services", json=body, expect=422)
    assert problem in answer["data"]["errors"]["health_check"][0]


def test_path_is_requested_on_the_server_of_the_service(
    service: Callable[..., Service], user: Client, make: Make
) -> None:
    server, machine = Server(HEALTHY), make(Machine, internal_ip="127.0.0.1")
    with server.listening() as port:
        target = service("/live?full=1", server_id=machine.id, port=port, protocol="http")
        assert check(user, target)["status"] == "healthy"
    assert server.received[0].target == "/live?full=1"
    assert server.received[0].headers["Host"] == f"127.0.0.1:{port}"


def test_container_port_is_requested_at_the_mapped_host_port(
    service: Callable[..., Service], user: Client, make: Make
) -> None:
    server, machine = Server(HEALTHY), make(Machine, internal_ip="::1")
    with server.listening("::1") as port:
        mapping = {"host_port": port, "container_port": 80, "protocol": "tcp"}
        container = make(Container, server_id=machine.id, port_mappings=[mapping])
        inner, outer = (service("/", container_id=container.id, port=number) for number in (80, port))
        assert [check(user, target)["status"] for target in (inner, outer)] == ["healthy", "healthy"]
    assert server.received[0].headers["Host"] == f"[::1]:{port}"


def test_path_without_a_server_address_is_unknown(service: Callable[..., Service], user: Client, make: Make) -> None:
    without_address = service("/", server_id=make(Machine).id, port=80)
    unplaced = service("/", container_id=make(Container).id, port=80)
    for target in (without_address, unplaced):
        result = check(user, target)
        assert result["status"] == "unknown"
        assert "internal IP" in result["problem"]


def test_checking_without_health_check_or_while_disabled_is_a_conflict(
    service: Callable[..., Service], user: Client
) -> None:
    answer = check(user, service(None), expect=409)
    assert answer["reason"] == "no_health_check"
    assert check(user, service("/", status="disabled"), expect=409)["reason"] == "disabled"
    user.call("POST", "/api/services/4711/check", expect=404)
    user.call("GET", "/api/services/4711/checks", expect=404)


def test_check_with_the_same_status_is_no_change_of_the_service(
    service: Callable[..., Service], user: Client, admin: Client, healthy: tuple[Server, str]
) -> None:
    target = service(healthy[1])
    results = [check(user, target) for _ in range(3)]
    assert [item["is_change"] for item in results] == [True, False, False]
    now = read(user, target)
    assert (now["version"], now["last_checked_at"]) == (2, results[-1]["checked_at"])
    about = {"resource_type": "services", "resource_id": target.id, "sort": "id"}
    _, change = admin.call("GET", "/api/audit-logs", query_string=about)["data"]
    assert change["changes"] == {"status": {"old": "unknown", "new": "healthy"}}
    assert (change["user_id"], change["action"]) == (user.user.id, "update")


def test_history_is_latest_first_and_supports_the_list_conventions(
    service: Callable[..., Service], user: Client, healthy: tuple[Server, str], admin: Client
) -> None:
    target, other = service(healthy[1]), service(healthy[1])
    ids = [check(user, target)["id"] for _ in range(3)]
    check(user, other)
    assert [item["id"] for item in history(user, target)] == ids[::-1]
    assert [item["id"] for item in history(user, target, sort="id", page_size=2)] == ids[:2]
    assert [item["id"] for item in history(user, target, is_change="true")] == ids[:1]
    assert history(user, target, service_id=other.id) == []
    assert history(user, target, status="unhealthy") == []
    assert history(user, target, fields="id,status")[0] == {"id": ids[-1], "status": "healthy"}
    path = f"/api/services/{target.id}/checks"
    walk = user.call("GET", path, query_string={"cursor": "", "page_size": 2})
    rest = user.call("GET", path, query_string={"cursor": walk["pagination"]["next_cursor"], "page_size": 2})
    assert [item["id"] for item in walk["data"] + rest["data"]] == ids[::-1]
    nonsense = user.call("GET", path, query_string={"stauts": "healthy"}, expect=400)
    assert nonsense["data"]["did_you_mean"][0] == "status"


def test_no_lock_is_held_while_a_response_is_awaited(service: Callable[..., Service], user: Client, make: Make) -> None:
    """A held lock would block every writer on SQLite, and changes of this service on PostgreSQL."""

    def change_something(server: Server, connection: socket.socket) -> None:
        make(Datacenter)
        user.call("PATCH", f"/api/services/{target.id}", json={"description": "changed meanwhile"})
        HEALTHY(server, connection)

    with Server(change_something).listening() as port:
        target = service(f"http://127.0.0.1:{port}/")
        assert check(user, target)["status"] == "healthy"
    now = read(user, target)
    assert (now["status"], now["description"], now["version"]) == ("healthy", "changed meanwhile", 3)


def test_service_deleted_during_its_check_is_a_conflict(service: Callable[..., Service], user: Client) -> None:
    def delete(server: Server, connection: socket.socket) -> None:
        user.call("DELETE", f"/api/services/{target.id}")
        HEALTHY(server, connection)

    with Server(delete).listening() as port:
        target = service(f"http://127.0.0.1:{port}/")
        assert check(user, target, expect=409)["reason"] == "deleted"


CLEARED = {"health_check": None}


@pytest.mark.parametrize(
    ("before", "body", "after"),
    [
        ("healthy", CLEARED, "unknown"),
        ("unhealthy", CLEARED, "unknown"),
        ("unhealthy", {**CLEARED, "health_check": ""}, "unknown"),
        ("healthy", {**CLEARED, "status": "healthy"}, "unknown"),
        ("healthy", {**CLEARED, "status": "unhealthy"}, "unhealthy"),
        ("disabled", CLEARED, "disabled"),
        ("healthy", {"health_check": "/other"}, "healthy"),
        ("healthy", {"description": "x"}, "healthy"),
    ],
)
def test_without_its_health_check_nobody_knows_how_a_service_is(
    user: Client, service: Callable[..., Service], before: str, body: Body, after: str
) -> None:
    ids = [service("/", status=before).id for _ in range(4)]
    for method, identity in zip(("PATCH", "PUT"), ids, strict=False):
        assert user.call(method, f"/api/services/{identity}", json=body)["data"]["version"] == 2
    user.call("PATCH", "/api/services/bulk", json={"items": [{"id": ids[2], **body}]})
    user.call("PATCH", "/api/services/bulk", json={"filter": {"id": ids[3]}, "set": body, "expected_count": 1})
    assert {user.call("GET", f"/api/services/{identity}")["data"]["status"] for identity in ids} == {after}


def test_an_import_that_clears_the_health_check_makes_the_status_unknown(
    user: Client, service: Callable[..., Service], upload: Upload
) -> None:
    target = service("/", status="healthy", name="web")
    import_ = upload(
        user, form={"match": "name", "apply": "true"}, Services=[("Name", "Health check"), ("web", "<clear>")]
    )
    (row,) = rows_of(user, import_)
    assert row["changes"]["status"] == {"old": "healthy", "new": "unknown"}
    assert read(user, target)["status"] == "unknown"


def test_service_disabled_during_its_check_stays_disabled(
    outgoing_app: Flask, service: Callable[..., Service], user: Client
) -> None:
    def disable(server: Server, connection: socket.socket) -> None:
        user.call("PATCH", f"/api/services/{target.id}", json={"status": "disabled"})
        HEALTHY(server, connection)

    with Server(disable).listening() as port:
        target = service(f"http://127.0.0.1:{port}/")
        assert check_due(outgoing_app) == 1
    assert read(user, target)["status"] == "disabled"
    assert history(user, target) == []


@pytest.mark.race
def test_concurrent_checks_are_limited(service: Callable[..., Service], user: Client) -> None:
    """Services that hang must not occupy all threads that serve requests."""
    server = Server(hangs)
    with server.listening() as port, ThreadPoolExecutor(4) as threads:
        target = service(f"http://127.0.0.1:{port}/")
        waiting = [threads.submit(check, user, target) for _ in range(4)]
        wait_until(lambda: len(server.received) == 4)
        assert check(user, target, expect=429)["reason"] == "busy"
        server.released.set()
        assert {item.result(TIMEOUT_SECONDS)["status"] for item in waiting} == {"unhealthy"}


def test_scheduler_checks_each_service_once_per_interval(
    outgoing_app: Flask, service: Callable[..., Service], user: Client, admin: Client, healthy: tuple[Server, str]
) -> None:
    server, url = healthy
    checked = [service(f"{url}/{n}") for n in range(3)]
    service(url, status="disabled")
    service(None)
    assert (check_due(outgoing_app), check_due(outgoing_app)) == (3, 0)
    assert sorted(request.target for request in server.received) == [f"/health/{n}" for n in range(3)]
    make_all_due(outgoing_app)
    assert check_due(outgoing_app) == 3
    for target in checked:
        now = read(user, target)
        assert (now["status"], now["version"]) == ("healthy", 2)
        latest, first = history(user, target)
        assert (first["checked_by"], latest["checked_at"]) == (None, now["last_checked_at"])
    about = {"resource_type": "services", "action": "update"}
    records = admin.call("GET", "/api/audit-logs", query_string=about)["data"]
    assert [(record["username"], record["user_id"]) for record in records] == [("system", None)] * 3


@pytest.mark.race
def test_concurrent_schedulers_check_each_service_once(
    outgoing_app: Flask, service: Callable[..., Service], healthy: tuple[Server, str]
) -> None:
    server, url = healthy
    for n in range(12):
        service(f"{url}/{n}")
    for _ in range(3):
        server.received.clear()
        assert sum(run_concurrently([lambda: check_due(outgoing_app)] * 4)) == 12
        assert len({request.target for request in server.received}) == len(server.received) == 12
        make_all_due(outgoing_app)


def test_slow_service_does_not_delay_other_checks(
    outgoing_app: Flask, service: Callable[..., Service], user: Client, make: Make, healthy: tuple[Server, str]
) -> None:
    """Other services are checked, stored and shown, and writes succeed, while it hangs."""
    slow = Server(hangs)
    with slow.listening() as port, ThreadPoolExecutor(1) as threads:
        service(f"http://127.0.0.1:{port}/")
        quick = [service(healthy[1]) for _ in range(3)]
        round_ = threads.submit(check_due, outgoing_app)
        assert slow.contacted.wait(TIMEOUT_SECONDS)
        wait_until(lambda: {read(user, target)["status"] for target in quick} == {"healthy"})
        make(Datacenter)
        assert not round_.done()
        slow.released.set()
        assert round_.result(TIMEOUT_SECONDS) == 4


def test_scheduler_runs_in_the_job_runner(
    outgoing_app: Flask, service: Callable[..., Service], user: Client, healthy: tuple[Server, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    target = service(healthy[1])
    repeated = runner_of(outgoing_app)._repeated["service checks"]
    monkeypatch.setitem(runner_of(outgoing_app)._repeated, "service checks", (repeated[0], 0.01))
    runner_of(outgoing_app).start()
    try:
        assert healthy[0].contacted.wait(TIMEOUT_SECONDS)
        wait_until(lambda: read(user, target)["status"] == "healthy")
    finally:
        runner_of(outgoing_app).stop()


def test_interval_of_zero_turns_the_scheduler_off(
    build_app: BuildApp, service: Callable[..., Service], healthy: tuple[Server, str]
) -> None:
    service(healthy[1])
    assert check_due(build_app(OUTGOING_ALLOWED=LOCAL_NETWORKS, HEALTH_CHECK_SECONDS=0)) == 0
    assert not healthy[0].contacted.is_set()


def test_number_of_statements_does_not_depend_on_the_number_of_services(
    app: Flask, backend: Backend, make: Make, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_scheduler, "WRITE_INTERVAL_SECONDS", TIMEOUT_SECONDS)
    counts = []
    for total in (2, 20):
        while check_due(app) < total:
            make(Service, health_check="http://127.0.0.1/")
            make_all_due(app)
        make_all_due(app)
        with statements() as sent:
            assert check_due(app) == total
        if isinstance(backend, Mariadb) and backend.is_mysql:
            # Each check is an INSERT of its own there, see docs/databases.md.
            sent = [statement for statement in sent if not statement.startswith("INSERT INTO service_checks ")]
        counts.append(len(sent))
    assert counts[0] == counts[1]


def test_old_checks_are_deleted_and_status_changes_are_kept_longer(
    outgoing_app: Flask, service: Callable[..., Service], user: Client, healthy: tuple[Server, str]
) -> None:
    target = service(healthy[1])
    first, second, third = (check(user, target)["id"] for _ in range(3))

    def age(identity: int, **ages: int) -> None:
        table = ServiceCheck.__table__
        values = {"checked_at": utcnow() - timedelta(**ages)}
        db.session.execute(sa.update(table).where(table.c.id == identity).values(values))
        db.session.commit()

    with outgoing_app.app_context():
        age(first, days=2)
        age(second, days=2)
        assert check_scheduler.delete_old_checks() == 1
    assert [item["id"] for item in history(user, target)] == [third, first]
    with outgoing_app.app_context():
        age(first, days=91)
        assert (check_scheduler.delete_old_checks(), check_scheduler.delete_old_checks()) == (1, 0)


def test_a_deleted_service_is_not_scheduled(
    outgoing_app: Flask, service: Callable[..., Service], user: Client, healthy: tuple[Server, str]
) -> None:
    target = service(healthy[1])
    check_due(outgoing_app)
    user.call("DELETE", f"/api/services/{target.id}")
    with outgoing_app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ServiceSchedule)) == 0
