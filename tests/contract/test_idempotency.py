"""`Idempotency-Key`: however often a POST is sent, it is done once, and answered as the first time."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from io import BytesIO
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app.core.db.unit_of_work import db
from app.core.http import idempotency
from app.core.http.access import Role
from app.core.http.idempotency import LEASE, REPLAYED, IdempotencyKey, keys
from app.resource import Resource
from app.resource import service as resource_service
from app.servers.routes import resource as servers
from tests.backends import on_servers
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.contract.resources import all_rows, each_resource
from tests.factories import Make
from tests.features.conftest import workbook
from tests.openapi import Document
from tests.spread import spread
from tests.threads import TIMEOUT_SECONDS, run_concurrently

pytestmark = spread

SERVERS = "/api/servers"


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def same(first: TestResponse, again: TestResponse) -> bool:
    """Whether an answer is the first one, sent again."""
    stored_headers = ("Content-Type", "ETag", "Location")
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    return (first.status_code, first.data, [first.headers.get(name) for name in stored_headers]) == (
        again.status_code,
        again.data,
        [again.headers.get(name) for name in stored_headers],
    )


@each_resource
def test_a_creation_that_is_sent_again(resource: Resource, make: Make, admin: Client, key: dict[str, str]) -> None:
    body = make.body(resource, full=True)
    before = len(all_rows(resource, admin))
    first = admin.send("POST", resource.path, json=body, headers=key, expect=201)
    again = admin.send("POST", resource.path, json=body, headers=key, expect=201)
    assert same(first, again)
    assert len(all_rows(resource, admin)) == before + 1
    assert first.headers["X-Request-ID"] != again.headers["X-Request-ID"]


@each_resource
def test_a_bulk_creation_that_is_sent_again(resource: Resource, make: Make, admin: Client, key: dict[str, str]) -> None:
    body = {"items": [make.body(resource) for _ in range(3)]}
    before = len(all_rows(resource, admin))
    send = partial(admin.send, "POST", f"{resource.path}/bulk", json=body, headers=key, expect=201)
    assert same(send(), send())
    assert len(all_rows(resource, admin)) == before + 3


@pytest.mark.race
@each_resource
def test_twenty_at_once_are_one(resource: Resource, make: Make, admin: Client, key: dict[str, str]) -> None:
    body = make.body(resource, full=True)
    before = len(all_rows(resource, admin))
    send = partial(admin.send, "POST", resource.path, json=body, headers=key, expect=(201, 409))
    answers = run_concurrently([send] * 20)
    assert len(all_rows(resource, admin)) == before + 1
    created = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.data for answer in created}) == 1
    assert Counter(REPLAYED in answer.headers for answer in created)[False] == 1
    refused = [json.loads(answer.data)["data"]["reason"] for answer in answers if answer.status_code == 409]
    assert set(refused) <= {"still_running"}


def test_an_answer_of_failure_is_kept_too(make: Make, admin: Client, key: dict[str, str]) -> None:
    make(servers.model, name="taken", datacenter_id=None)
    send = partial(admin.send, "POST", SERVERS, json={"name": "taken"}, headers=key, expect=409)
    first = send()
    taken = admin.call("GET", SERVERS, query_string={"name": "taken"})["data"][0]
    admin.call("DELETE", f"{SERVERS}/{taken['id']}")
    assert same(first, send())
    invalid = {"Idempotency-Key": uuid.uuid4().hex}
    send = partial(admin.send, "POST", SERVERS, json={"bogus": 1}, headers=invalid, expect=422)
    assert same(send(), send())


def test_another_request_with_the_key_is_refused(make: Make, admin: Client, key: dict[str, str]) -> None:
    admin.call("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)
    for path, body in (
        (SERVERS, {"name": "b"}),
        (SERVERS, {"name": "a", "rack": None}),
        ("/api/containers", {"name": "a"}),
        (f"{SERVERS}/bulk", {"items": [{"name": "a"}]}),
    ):
        refused = admin.call("POST", path, json=body, headers=key, expect=422)
        assert refused["data"]["reason"] == "idempotency_key_reused"
    assert admin.call("GET", SERVERS)["pagination"]["total"] == 1


def test_a_key_is_its_senders_own(admin: Client, user: Client, other: Client, key: dict[str, str]) -> None:
    for number, client in enumerate((admin, user, other)):
        answer = client.send("POST", "/api/tasks", json={"title": "the same"}, headers=key, expect=201)
        assert REPLAYED not in answer.headers, number
        assert client.call("GET", "/api/tasks", query_string={"created_by_id": client.user.id})["pagination"]["total"]


@each_resource
def test_a_demoted_administrator_gets_no_answer_of_an_administrator(
    resource: Resource, make: Make, admin: Client, sign_in: SignIn, key: dict[str, str]
) -> None:
    demoted = sign_in(role=Role.ADMIN)
    send = partial(demoted.send, "POST", resource.path, json=make.body(resource), headers=key)
    send(expect=201)
    before = len(all_rows(resource, admin))
    admin.call("PATCH", f"/api/users/{demoted.user.id}", json={"role": "user"})
    refused = send(expect=403)
    assert json.loads(refused.data)["data"]["reason"] == "role"
    # Nor is it done a second time under the rights of a user.
    assert len(all_rows(resource, admin)) == before
    admin.call("PATCH", f"/api/users/{demoted.user.id}", json={"role": "admin"})
    assert send(expect=201).headers[REPLAYED] == "true"


def test_a_refusal_is_not_kept(make: Make, admin: Client, user: Client, key: dict[str, str]) -> None:
    """Whether somebody may do something is decided when they ask."""
    send = partial(user.send, "POST", "/api/datacenters", json={"name": "SH-1"}, headers=key)
    send(expect=403)
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"role": "admin"})
    assert REPLAYED not in send(expect=201).headers


def test_a_script_does_not_get_what_was_answered_in_person(
    app: Flask, document: Document, user: Client, key: dict[str, str]
) -> None:
    body = {"name": "ci", "scopes": ["write"]}
    token = user.call("POST", "/api/auth/tokens", json=body, headers=key, expect=201)["data"]["token"]
    script = Client(app, document, token, user.user)
    script.call("POST", "/api/auth/tokens", json=body, headers=key, expect=403)


def test_who_is_not_signed_in_learns_nothing(
    app: Flask, document: Document, admin: Client, key: dict[str, str]
) -> None:
    admin.call("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)
    Client(app, document).call("POST", SERVERS, json={"name": "a"}, headers=key, expect=401)
    Client(app, document, "nonsense").call("POST", SERVERS, json={"name": "a"}, headers=key, expect=401)


def test_a_secret_is_answered_again_and_not_to_be_read_in_the_table(
    app: Flask, admin: Client, key: dict[str, str]
) -> None:
    body = {"name": "ci"}
    send = partial(admin.send, "POST", "/api/auth/tokens", json=body, headers=key, expect=201)
    first, again = send(), send()
    assert same(first, again)
    assert admin.call("GET", "/api/auth/tokens")["pagination"]["total"] == 1
    token = json.loads(first.data)["data"]["token"]
    with app.app_context():
        (row,) = db.session.execute(sa.select(keys)).all()
    stored = repr(tuple(row))
    assert not any(text in stored for text in (token, key["Idempotency-Key"], 'ci"', PASSWORD))


def test_a_login_that_is_sent_again(app: Flask, document: Document, user: Client, key: dict[str, str]) -> None:
    credentials = {"username": user.user.username, "password": PASSWORD}
    send = partial(Client(app, document).send, "POST", "/api/auth/login", headers=key)
    wrong = {**credentials, "password": "something else"}
    send(json=wrong, expect=401)
    first = send(json=credentials)
    assert same(first, send(json=credentials))
    refused = json.loads(send(json=wrong, expect=422).data)
    assert refused["data"]["reason"] == "idempotency_key_reused"


def test_an_upload_that_is_sent_again_with_another_boundary(admin: Client, key: dict[str, str]) -> None:
    content = workbook(Servers=[("Name",), ("n1",)])

    def send(content: bytes, expect: int, **form: str) -> TestResponse:
        data = {"file": (BytesIO(content), "fleet.xlsx"), **form}
        return admin.send("POST", "/api/imports", data=data, headers=key, expect=expect)

    first = send(content, 202)
    assert same(first, send(content, 202))
    assert admin.call("GET", "/api/imports")["pagination"]["total"] == 1
    send(content + b"\n", 422)
    send(content, 422, mode="create")


@pytest.mark.parametrize("bad", ["", " ", "ü", "a b", "x" * 256])
def test_a_key_that_is_none(bad: str, admin: Client) -> None:
    refused = admin.call("POST", SERVERS, json={"name": "a"}, headers={"Idempotency-Key": bad}, expect=400)
    assert refused["data"]["reason"] == "invalid_header"
    assert admin.call("GET", SERVERS)["pagination"]["total"] == 0


def test_a_dry_run_leaves_the_key_free(admin: Client, key: dict[str, str]) -> None:
    for _ in range(2):
        admin.send("POST", SERVERS, json={"name": "a"}, query_string={"dry_run": "true"}, headers=key, expect=201)
    first = admin.send("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)
    assert same(first, admin.send("POST", SERVERS, json={"name": "a"}, headers=key, expect=201))


def test_a_dry_run_that_is_refused_leaves_the_key_free(admin: Client, key: dict[str, str]) -> None:
    taken = admin.call("POST", SERVERS, json={"name": "a"}, expect=201)["data"]["id"]
    admin.send("POST", SERVERS, json={"name": "a"}, query_string={"dry_run": "true"}, headers=key, expect=409)
    admin.call("DELETE", f"{SERVERS}/{taken}")
    admin.send("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)


def test_other_methods_take_no_notice(make: Make, admin: Client, key: dict[str, str]) -> None:
    path = f"{SERVERS}/{make(servers.model).id}"
    for version, rack in enumerate(("a", "b"), 2):
        assert admin.call("PATCH", path, json={"rack": rack}, headers=key)["data"]["version"] == version
    admin.call("GET", path, headers=key)


class Halted:
    """Blocks each creation of an object at that statement, until it is released."""

    def __init__(self) -> None:
        self.reached, self.go_on = Event(), Event()


@pytest.fixture
def halted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Halted]:
    """The first creation, held after its key was claimed and before it writes anything."""
    gate, create = Halted(), resource_service.create

    def wait(*args: Any) -> Any:
        if not gate.reached.is_set():
            gate.reached.set()
            assert gate.go_on.wait(TIMEOUT_SECONDS)
        return create(*args)

    monkeypatch.setattr(resource_service, "create", wait)
    yield gate
    gate.go_on.set()


def after_the_first(halted: Halted, first: Any, meanwhile: Any) -> tuple[Any, Any]:
    """What both answer, the second called while the first is held in its middle."""

    def second() -> Any:
        assert halted.reached.wait(TIMEOUT_SECONDS)
        try:
            return meanwhile()
        finally:
            halted.go_on.set()

    one, other = run_concurrently([first, second])
    return one, other


def test_while_the_first_is_running_it_is_a_conflict(admin: Client, key: dict[str, str], halted: Halted) -> None:
    send = partial(admin.send, "POST", SERVERS, json={"name": "a"}, headers=key, expect=(201, 409))
    first, second = after_the_first(halted, send, send)
    assert (first.status_code, second.status_code) == (201, 409)
    assert json.loads(second.data)["data"]["reason"] == "still_running"
    assert same(first, send())


def age(app: Flask, by: timedelta) -> None:
    """Let time go by for every key."""
    with app.app_context():
        for row in db.session.scalars(sa.select(IdempotencyKey)):
            row.created_at -= by
            row.lease_expires_at -= by
        db.session.commit()


@on_servers
def test_who_outlives_the_lease_is_rolled_back(app: Flask, admin: Client, key: dict[str, str], halted: Halted) -> None:
    """However long the first was thought dead, there is one effect. On SQLite it holds the only lock meanwhile."""
    send = partial(admin.send, "POST", SERVERS, json={"name": "a"}, headers=key, expect=(201, 409))

    def take_over() -> TestResponse:
        age(app, LEASE + timedelta(seconds=1))
        return send()

    first, second = after_the_first(halted, send, take_over)
    assert (first.status_code, second.status_code) == (409, 201)
    assert admin.call("GET", SERVERS)["pagination"]["total"] == 1
    assert same(second, send())


def test_a_request_that_died_leaves_the_key_after_its_lease(
    app: Flask, admin: Client, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """No handler catches it, like the end of a process."""

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(resource_service, "create", die)
        with pytest.raises(Killed):
            admin.call("POST", SERVERS, json={"name": "a"}, headers=key)
    admin.call("POST", SERVERS, json={"name": "a"}, headers=key, expect=409)
    age(app, LEASE + timedelta(seconds=1))
    admin.call("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)


def test_a_mistake_of_ours_is_not_kept(admin: Client, key: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(resource_service, "create", fail)
        # No document promises a mistake, so it is not held to one.
        headers = {**key, "Authorization": f"Bearer {admin.token}"}
        assert admin.app.test_client().post(SERVERS, json={"name": "a"}, headers=headers).status_code == 500
    admin.call("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)


def test_after_a_day_a_key_is_free_and_forgotten(app: Flask, admin: Client, key: dict[str, str]) -> None:
    admin.call("POST", SERVERS, json={"name": "a"}, headers=key, expect=201)
    age(app, timedelta(hours=24) - timedelta(minutes=1))
    with app.app_context():
        idempotency.purge()
    assert REPLAYED in admin.send("POST", SERVERS, json={"name": "a"}, headers=key, expect=201).headers
    age(app, timedelta(minutes=2))
    admin.call("POST", SERVERS, json={"name": "b"}, headers=key, expect=201)
    age(app, timedelta(hours=24) + timedelta(minutes=1))
    with app.app_context():
        idempotency.purge()
        assert db.session.execute(sa.select(keys)).all() == []


def test_every_post_says_that_it_takes_a_key(document: Document) -> None:
    for operation, described in document.operations.items():
        names = [document.resolve(item)["name"] for item in described.get("parameters", ())]
        assert ("Idempotency-Key" in names) == (operation.method == "post"), operation


def test_users_cannot_be_told_apart_by_their_keys(sign_in: SignIn, key: dict[str, str]) -> None:
    """The same request of somebody else is their own."""
    titles = [sign_in().call("POST", "/api/tasks", json={"title": "x"}, headers=key, expect=201) for _ in range(2)]
    assert titles[0]["data"]["id"] != titles[1]["data"]["id"]
