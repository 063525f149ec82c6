"""Imports reveal nothing about objects that their user may not see: no id, no count, no name."""

from typing import Any

import pytest
from flask import Flask

from app.core.http.access import Role, current_actor
from app.datacenters.models import Datacenter
from app.resource import rows
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.features.conftest import Upload, rows_of
from tests.features.imports.test_import import APPLY, find
from tests.features.imports.test_revert import revert


@pytest.mark.parametrize("is_private", [False, True])
def test_the_holder_of_a_value_is_named_only_to_users_who_see_it(
    user: Client, other: Client, admin: Client, upload: Upload, make: Make, monkeypatch: Any, is_private: bool
) -> None:
    """Servers are made private: no private resource has a uniqueness rule yet."""
    body = {"name": "n1", "datacenter_id": make(Datacenter, name="SH-1").id, "internal_ip": "10.0.0.1"}
    hers = user.call("POST", "/api/servers", expect=201, json=body)["data"]["id"]
    if is_private:
        private = lambda model: model is Server and not current_actor().is_admin  # noqa: E731
        monkeypatch.setattr(rows, "sees_own_only", private)
    for client, which in ((other, "" if is_private else f" ({hers})"), (admin, f" ({hers})")):
        import_ = upload(client, Servers=[("Name", "Datacenter", "Internal IP"), ("n2", "SH-1", "10.0.0.1")])
        ((error,),) = (row["errors"] for row in rows_of(client, import_, "error"))
        assert (error["cell"], error["rule"]) == ("C2", "taken")
        assert error["message"] == (
            f"Another server{which} already has the internal IP “10.0.0.1”: write another one, or change that object "
            "too."
        )


def test_private_tasks_of_others_do_not_prevent_a_revert(
    app: Flask, admin: Client, user: Client, upload: Upload, make: Make
) -> None:
    """As with any deletion their reference is cleared; visible tasks prevent it."""
    import_ = upload(user, form=APPLY, Servers=[("Name",), ("n1",)])
    server = find(user, "servers", name="n1")["id"]
    task = make(Task, server_id=server, created_by_id=admin.user.id)
    own = make(Task, server_id=server, created_by_id=user.user.id)
    (conflict,) = revert(user, import_, expect=409)["conflicts"]
    assert conflict["message"] == "Other objects refer to it: tasks (1)."
    user.call("DELETE", f"/api/tasks/{own.id}")
    assert revert(user, import_)["removed"] == {"servers": 1}
    stored = admin.call("GET", f"/api/tasks/{task.id}")["data"]
    assert (stored["server_id"], stored["version"]) == (None, 2)


def test_a_column_of_task_names_reveals_no_tasks_of_others(
    admin: Client, sign_in: SignIn, upload: Upload, make: Make
) -> None:
    second = sign_in(role=Role.USER)
    for number in range(10):
        make(Task, title=f"task {number}", created_by_id=admin.user.id)
    rows: list[Any] = [("Name", "Next task"), *((f"n{number}", f"task {number}") for number in range(11))]
    assert [row["row"] for row in rows_of(admin, upload(admin, Servers=rows), "error")] == [12]
    assert rows_of(second, upload(second, Servers=rows), "error") == []
