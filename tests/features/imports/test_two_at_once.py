"""Two imports of the same rows in opposite order, at the same time: both finish."""

from threading import Barrier, get_ident
from typing import Any

import pytest

from app.core.jobs.runner import runner_of
from app.datacenters.models import Datacenter
from app.resource.bulk import writer
from app.servers.models import Server
from tests.backends import on_servers
from tests.client import Body, Client
from tests.factories import Make
from tests.features.conftest import Upload
from tests.features.imports.test_import import audit, find, totals
from tests.threads import TIMEOUT_SECONDS, run_concurrently

NAMES = [f"n{number:03}" for number in range(200)]


def meet(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the first calls of a function of the set-based writer in two threads wait for each other."""
    gate, function, came = Barrier(2), getattr(writer, name), set()

    def after_the_other(*arguments: Any) -> Any:
        if get_ident() not in came:
            came.add(get_ident())
            gate.wait(TIMEOUT_SECONDS)
        return function(*arguments)

    monkeypatch.setattr(writer, name, after_the_other)


def apply_both(client: Client, one: Body, other: Body) -> tuple[Body, Body]:
    """Apply two plans in two threads; returns the applied import and the other one."""
    for plan in (one, other):
        client.call("POST", f"/api/imports/{plan['id']}/apply", expect=202, json={})
    run_concurrently([runner_of(client.app).run_pending, runner_of(client.app).run_pending])
    ended = [client.call("GET", f"/api/imports/{plan['id']}")["data"] for plan in (one, other)]
    first, second = sorted(ended, key=lambda import_: import_["status"])
    return first, second


def rows(names: list[str], memory: int) -> list[tuple[Any, ...]]:
    return [("Name", "Memory (GB)"), *((name, memory) for name in names)]


@pytest.mark.race
@on_servers
def test_the_same_changes(admin: Client, upload: Upload, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        make(Server, name=name)
    plans = upload(admin, Servers=rows(NAMES, 1)), upload(admin, Servers=rows(NAMES[::-1], 2))
    meet(monkeypatch, "lock")
    applied, failed = apply_both(admin, *plans)
    assert (applied["status"], failed["status"]) == ("applied", "failed")
    assert (failed["problem"]["reason"], len(failed["problem"]["conflicts"])) == ("out_of_date", len(NAMES))
    memory = 1 if applied["id"] == plans[0]["id"] else 2
    page = admin.call("GET", "/api/servers", query_string={"memory_gb": memory, "page_size": 1})
    assert page["pagination"]["total"] == len(NAMES)
    assert audit(admin, request_id=failed["request_id"]) == []


@pytest.mark.race
@on_servers
def test_the_same_new_objects(admin: Client, upload: Upload, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for a name that the other has taken: the database ends one, which is retried."""
    make(Datacenter, name="SH-1")
    plans = upload(admin, Servers=rows(NAMES, 1)), upload(admin, Servers=rows(NAMES[::-1], 2))
    meet(monkeypatch, "write_creations")
    applied, failed = apply_both(admin, *plans)
    assert (applied["status"], failed["status"]) == ("applied", "failed")
    taken = {conflict["message"] for conflict in failed["problem"]["conflicts"]}
    assert taken == {"Another object has taken this Name since the plan was made."}
    assert len(failed["problem"]["conflicts"]) == len(NAMES)
    assert totals(admin)["servers"] == len(NAMES)
    assert find(admin, "servers", name=NAMES[0])["version"] == 1
