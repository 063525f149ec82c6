"""Host ports are unique per server and protocol, whatever way a container is written."""

import itertools
import json
from collections import Counter
from functools import partial
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.containers.models import Container, HostPort
from app.core.db.unit_of_work import db
from app.core.jobs.runner import runner_of
from app.servers.models import Server
from tests.client import Body, Client
from tests.factories import Make
from tests.features.conftest import workbook
from tests.threads import run_concurrently

CONTAINERS = "/api/containers"
_numbers = itertools.count()
PORT_TAKEN = {"port_mappings": ["Already taken."]}


def ports(*host_ports: int, protocol: str = "tcp") -> list[Body]:
    return [{"host_port": port, "container_port": 80, "protocol": protocol} for port in host_ports]


def create(client: Client, server: int | None, *mappings: Body, expect: int = 201) -> Body:
    body = {"name": f"c{next(_numbers)}", "server_id": server, "port_mappings": list(mappings)}
    answer: Body = client.call("POST", CONTAINERS, json=body, expect=expect)["data"]
    return answer


def test_port_in_use_is_a_conflict_that_names_the_field(make: Make, admin: Client) -> None:
    one, other = make(Server).id, make(Server).id
    create(admin, one, *ports(80, 81))
    refused = create(admin, one, *ports(82, 81), expect=409)
    assert (refused["reason"], refused["errors"]) == ("taken", PORT_TAKEN)
    create(admin, one, *ports(80, protocol="udp"))
    create(admin, other, *ports(80, 81))


def test_an_invalid_port_is_named_with_its_place(make: Make, admin: Client) -> None:
    refused = create(admin, make(Server).id, *ports(80, 70_000, 0), expect=422)
    assert list(refused["errors"]) == ["port_mappings.1.host_port", "port_mappings.2.host_port"]


def test_unplaced_containers_use_no_ports(make: Make, admin: Client) -> None:
    server = make(Server).id
    create(admin, None, *ports(80))
    unplaced = create(admin, None, *ports(80))
    create(admin, server, *ports(80))
    path = f"{CONTAINERS}/{unplaced['id']}"
    assert admin.call("PATCH", path, json={"server_id": server}, expect=409)["data"]["errors"] == PORT_TAKEN
    admin.call("PATCH", path, json={"server_id": server, "port_mappings": ports(81)})


def test_released_ports_are_free(make: Make, admin: Client) -> None:
    server, other = make(Server).id, make(Server).id
    moved, changed, deleted = (create(admin, server, *ports(port)) for port in (80, 81, 82))
    admin.call("PATCH", f"{CONTAINERS}/{moved['id']}", json={"server_id": other})
    admin.call("PATCH", f"{CONTAINERS}/{changed['id']}", json={"port_mappings": ports(90)})
    admin.call("DELETE", f"{CONTAINERS}/{deleted['id']}")
    create(admin, server, *ports(80, 81, 82))
    back = admin.call("PATCH", f"{CONTAINERS}/{moved['id']}", json={"server_id": server}, expect=409)["data"]
    assert back["errors"] == PORT_TAKEN


def test_container_does_not_conflict_with_itself(make: Make, admin: Client) -> None:
    stored = create(admin, make(Server).id, *ports(80, 81))
    path = f"{CONTAINERS}/{stored['id']}"
    admin.call("PATCH", path, json={"port_mappings": ports(81, 80, 82), "status": "running"})
    admin.call("PATCH", path, json={"name": "another"})
    admin.call("PATCH", path, json={"port_mappings": []})


def test_duplicate_port_within_a_container_is_invalid(admin: Client) -> None:
    refused = create(admin, None, *ports(80, 81, 80), expect=422)
    assert list(refused["errors"]) == ["port_mappings.2.host_port"]
    create(admin, None, *ports(80), *ports(80, protocol="udp"))


@pytest.mark.race
def test_one_of_ten_concurrent_creations_gets_the_port(make: Make, admin: Client) -> None:
    server = make(Server).id
    bodies = [{"name": f"n{k}", "server_id": server, "port_mappings": ports(80)} for k in range(10)]
    send = partial(admin.call, "POST", CONTAINERS, expect=(201, 409))
    answers = run_concurrently([partial(send, json=body) for body in bodies])
    assert Counter(answer["code"] for answer in answers) == {0: 1, 409: 9}


def test_bulk_names_the_conflicting_item(make: Make, admin: Client) -> None:
    server = make(Server).id
    items = [
        {"name": f"n{k}", "server_id": server, "port_mappings": ports(port)} for k, port in enumerate((80, 81, 80))
    ]
    body = {"mode": "partial", "items": items}
    results = admin.call("POST", f"{CONTAINERS}/bulk", json=body)["data"]["results"]
    assert [result["status"] for result in results] == ["ok", "ok", "conflict"]
    assert results[2]["error"]["data"]["errors"] == PORT_TAKEN
    changes = {"items": [{"id": results[1]["id"], "port_mappings": ports(80)}]}
    admin.call("PATCH", f"{CONTAINERS}/bulk", json=changes, expect=409)


TITLES = ("Name", "Server", "Port mappings")


def import_containers(client: Client, *rows: tuple[Any, ...], apply: str = "true", **sheets: Any) -> Body:
    content = workbook(**sheets, Containers=[TITLES, *rows])
    data: dict[str, Any] = {"file": (BytesIO(content), "x.xlsx"), "apply": apply}
    import_ = client.call("POST", "/api/imports", data=data, expect=202)["data"]
    runner_of(client.app).run_pending()
    return client.call("GET", f"/api/imports/{import_['id']}")["data"]  # type: ignore[no-any-return]


def row_errors(client: Client, import_: Body) -> list[tuple[int, str, str, Any, str]]:
    """(row, cell, column, value, message) of each."""
    rows = client.call("GET", f"/api/imports/{import_['id']}/rows?status=error")["data"]
    return [
        (row["row"], error["cell"], error["column"], error["value"], error["message"])
        for row in rows
        for error in row["errors"]
    ]


def test_import_names_the_rows_whose_port_is_in_use(app: Flask, make: Make, admin: Client) -> None:
    server = make(Server, name="n1").id
    make(Server, name="n2")
    owner = create(admin, server, *ports(80))
    unplaced = create(admin, None, *ports(80))
    import_ = import_containers(
        admin,
        ("web", "n1", json.dumps([*ports(81), *ports(80)])),
        ("free", "n1", json.dumps(ports(80, protocol="udp"))),
        ("elsewhere", "n2", json.dumps(ports(80))),
        ("second", "n1", json.dumps(ports(81))),
        ("on a new server", "n3", json.dumps(ports(80))),
        ("beside it", "n3", json.dumps(ports(80))),
        Servers=[("Name",), ("n3",)],
    )
    assert import_["status"] == "invalid"
    in_use = f"Another container ({owner['id']}) already has 80/tcp on this server: write another one."
    assert row_errors(admin, import_) == [
        (2, "C2", "Port mappings", "80/tcp", in_use),
        (5, "C5", "Port mappings", "81/tcp", "Row 2 already has 81/tcp on this server: write another one."),
        (7, "C7", "Port mappings", "80/tcp", "Row 6 already has 80/tcp on this server: write another one."),
    ]
    rows = [("_id", "Server"), (unplaced["id"], "n1")]
    data: dict[str, Any] = {"file": (BytesIO(workbook(Containers=rows)), "x.xlsx")}
    import_ = admin.call("POST", "/api/imports", data=data, expect=202)["data"]
    runner_of(app).run_pending()
    assert row_errors(admin, import_) == [(2, "B2", "Server", "80/tcp", in_use)]
    assert admin.call("GET", CONTAINERS)["pagination"]["total"] == 2


def test_import_may_keep_and_reassign_ports(make: Make, admin: Client) -> None:
    server = make(Server, name="n1").id
    first, changed = create(admin, server, *ports(80)), create(admin, server, *ports(81))
    rows = (
        (first["name"], "n1", json.dumps(ports(80))),
        (changed["name"], "n1", json.dumps(ports(82, 83))),
        ("new", "n1", json.dumps(ports(81))),
    )
    import_ = import_containers(admin, *rows)
    assert (import_["status"], row_errors(admin, import_)) == ("applied", [])
    assert import_containers(admin, *rows)["sheets"][0]["unchanged"] == 3


def test_port_used_since_the_plan_fails_the_import_and_names_the_row(app: Flask, make: Make, admin: Client) -> None:
    server = make(Server, name="n1").id
    changed = create(admin, server)
    rows = (("web", "n1", json.dumps(ports(80))), (changed["name"], "n1", json.dumps(ports(81))))
    import_ = import_containers(admin, *rows, apply="false")
    assert import_["status"] == "ready"
    create(admin, server, *ports(80, 81))
    admin.call("POST", f"/api/imports/{import_['id']}/apply", json={}, expect=202)
    runner_of(app).run_pending()
    import_ = admin.call("GET", f"/api/imports/{import_['id']}")["data"]
    assert import_["status"] == "failed"
    assert [(conflict["row"], conflict["message"]) for conflict in import_["problem"]["conflicts"]] == [
        (2, "Port mappings: another object has taken 80/tcp since the plan was made."),
        (3, "Port mappings: another object has taken 81/tcp since the plan was made."),
    ]
    assert admin.call("GET", CONTAINERS)["pagination"]["total"] == 2


def test_triggers_derive_host_ports_also_from_raw_sql(make: Make, admin: Client, app: Flask) -> None:
    """Also where raw SQL writes them."""
    server = make(Server).id
    stored = create(admin, server, *ports(80, 81))
    with app.app_context():
        change = sa.text("UPDATE containers SET port_mappings = :new, version = version + 1 WHERE id = :id")
        # It is seen here; a commit without its record would be refused.
        db.session.execute(change, {"new": json.dumps(ports(90)), "id": stored["id"]})
        assert db.session.execute(sa.select(HostPort.server_id, HostPort.host_port)).all() == [(server, 90)]
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Container)) == 1
        db.session.rollback()
