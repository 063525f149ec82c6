"""Two hundred random edits over the API: a replay of the log gives the tables."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.catalog import CATALOG
from app.core.http.access import Role
from app.resource import Resource
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.replay import assert_log_matches_tables, read_tables

EDITS = 200

KINDS = (
    "create", "create", "create", "update", "update", "update", "update", "clear", "delete", "cascade", "restore",
    "undo", "assign", "release",
)  # fmt: skip
edits = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=EDITS, max_size=EDITS
)


@dataclass
class Editor:
    """Somebody who edits whatever there is; what is refused changes nothing, and that is tried too."""

    app: Flask
    make: Make
    admin: Client
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def edit(self, kind: str, a: int, b: int) -> None:
        resource = list(CATALOG.values())[a % len(CATALOG)]
        status = getattr(self, f"_{kind}")(resource, a, b)
        if status is not None and status < 300:
            self.done[kind] += 1

    def _send(self, method: str, path: str, **options: Any) -> int:
        status: int = self.admin.send(method, path, expect=tuple(range(200, 500)), **options).status_code
        return status

    def _one(self, resource: Resource, number: int) -> int | None:
        """The id of one of the objects that there are, but never that of who edits."""
        ids = sorted(identity for kind, identity in read_tables(self.app) if kind == resource.name)
        ids = [identity for identity in ids if (resource.name, identity) != ("users", self.admin.user.id)]
        return ids[number % len(ids)] if ids else None

    def _body(self, resource: Resource, b: int) -> dict[str, Any]:
        """A valid body, which hangs what it makes under something that there is."""
        body = self.make.body(resource, full=b % 2 == 0)
        for name, item in resource.fields.items():
            if item.target is not None and body.get(name) is not None:
                body[name] = self._one(CATALOG[item.target.__tablename__], b) or body[name]
        return body

    def _create(self, resource: Resource, _a: int, b: int) -> int:
        return self._send("POST", resource.path, json=self._body(resource, b))

    def _update(self, resource: Resource, _a: int, b: int) -> int | None:
        identity = self._one(resource, b)
        body = self._body(resource, b)
        names = sorted(body)
        chosen = {name: body[name] for name in names[b % len(names) :][:3]}
        return None if identity is None else self._send("PATCH", f"{resource.path}/{identity}", json=chosen)

    def _clear(self, resource: Resource, _a: int, b: int) -> int | None:
        identity = self._one(resource, b)
        names = sorted(name for name, item in resource.fields.items() if item.nullable and not item.read_only)
        nothing = {names[b % len(names)]: None}
        return None if identity is None else self._send("PATCH", f"{resource.path}/{identity}", json=nothing)

    def _delete(self, resource: Resource, _a: int, b: int, cascade: str = "false") -> int | None:
        identity = self._one(resource, b)
        if identity is None:
            return None
        return self._send("DELETE", f"{resource.path}/{identity}", query_string={"cascade": cascade})

    def _cascade(self, resource: Resource, a: int, b: int) -> int | None:
        return self._delete(resource, a, b, "true")

    def _restore(self, _resource: Resource, _a: int, b: int, action: str = "delete") -> int | None:
        query = {"action": action, "sort": "-id", "page_size": 20, "fields": "id"}
        records = self.admin.call("GET", "/api/audit-logs", query_string=query)["data"]
        if not records:
            return None
        return self._send("POST", f"/api/audit-logs/{records[b % len(records)]['id']}/restore")

    def _undo(self, resource: Resource, a: int, b: int) -> int | None:
        return self._restore(resource, a, b, "update")

    def _assign(self, _resource: Resource, a: int, b: int) -> int | None:
        gpu, holder = self._one(CATALOG["gpus"], a), self._one(CATALOG["users"], b)
        if gpu is None or holder is None:
            return None
        return self._send("POST", f"/api/gpus/{gpu}/assign", json={"user_id": holder})

    def _release(self, _resource: Resource, _a: int, b: int) -> int | None:
        gpu = self._one(CATALOG["gpus"], b)
        return None if gpu is None else self._send("POST", f"/api/gpus/{gpu}/release")


# The database is not emptied between two examples: what the log tells must hold of all of them together.
@settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(edits=edits)
def test_the_log_alone_tells_what_there_is(
    app: Flask, make: Make, sign_in: SignIn, edits: list[tuple[str, int, int]]
) -> None:
    editor = Editor(app, make, sign_in(role=Role.ADMIN))
    for edit in edits:
        editor.edit(*edit)
    assert_log_matches_tables(app)
