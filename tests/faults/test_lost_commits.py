"""The connection to the database is cut when a COMMIT has arrived, before its answer: nobody knows what was stored."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.http import idempotency
from app.core.http.idempotency import HEADER, REPLAYED
from app.core.values import utcnow
from tests.backends import DEFAULT_PORTS, Backend, on_servers
from tests.client import Client
from tests.conftest import BuildApp
from tests.faults.proxy import Edit, Proxy, unencrypted
from tests.openapi import Document
from tests.replay import assert_log_matches_tables

pytestmark = on_servers

ASSETS = "/api/assets"
COMMIT = re.compile(rb"COMMIT|CALL commit_recorded")


class LostAnswers:
    """Cuts a connection at the answer to the COMMIT of the first transaction that has sent `marked`."""

    def __init__(self, marked: bytes, *, is_committed: bool = True) -> None:
        self.marked = marked
        self.is_committed = is_committed
        """Whether the server gets the COMMIT."""
        self.lost = 0

    def edits(self) -> tuple[Edit, Edit]:
        is_marked = is_over = False

        def of_request(content: bytes) -> bytes | None:
            nonlocal is_marked, is_over
            is_marked = is_marked or self.marked in content
            if not self.lost and is_marked and COMMIT.search(content):
                is_over = True
                self.lost += 1
                return content if self.is_committed else None
            return content

        return of_request, lambda content: None if is_over else unencrypted(content)


@contextmanager
def losing(
    build_app: BuildApp, backend: Backend, document: Document, admin: Client, answers: LostAnswers
) -> Iterator[Client]:
    """The client of an application whose connections lose answers."""
    url = sa.make_url(backend.settings().SQLALCHEMY_DATABASE_URI)
    proxy = Proxy((url.host or "127.0.0.1", url.port or DEFAULT_PORTS[backend.name]), answers.edits)
    with proxy.listening() as port:
        through = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        yield Client(build_app(SQLALCHEMY_DATABASE_URI=through), document, admin.token)
    assert answers.lost == 1


def creations(app: Flask) -> int:
    """The number of audit records of created assets."""
    with app.app_context():
        count = sa.select(sa.func.count()).where(AuditLog.resource_type == "assets", AuditLog.action == "create")
        return db.session.scalar(count) or 0


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_creation_that_is_sent_again_with_its_key_is_stored_once(
    app: Flask, build_app: BuildApp, backend: Backend, document: Document, admin: Client, is_committed: bool
) -> None:
    """Names of assets repeat: without the key there would be two."""
    body = {"name": "monitor", "asset_type": "monitor"}
    answers = LostAnswers(b"INSERT INTO assets", is_committed=is_committed)
    with losing(build_app, backend, document, admin, answers) as client:
        send = partial(client.send, "POST", ASSETS, json=body, headers={HEADER: "once"})
        assert int(send(expect=503).headers["Retry-After"]) > 0
        again = send(expect=201)
        assert (REPLAYED in again.headers) is is_committed
        assert send(expect=201).data == again.data
    assert [row["id"] for row in admin.call("GET", ASSETS)["data"]] == [again.get_json()["data"]["id"]]
    assert creations(app) == 1
    assert_log_matches_tables(app)


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_key_is_free_as_soon_as_the_database_is_back(
    app: Flask, build_app: BuildApp, backend: Backend, document: Document, admin: Client, is_committed: bool
) -> None:
    """Its request has ended while the database was away: nobody waits until its lease is over."""
    url = sa.make_url(backend.settings().SQLALCHEMY_DATABASE_URI)
    answers = LostAnswers(b"INSERT INTO assets", is_committed=is_committed)
    proxy = Proxy((url.host or "127.0.0.1", url.port or DEFAULT_PORTS[backend.name]))

    def edits() -> tuple[Edit, Edit]:
        of_request, of_reply = answers.edits()

        def cut_off(content: bytes) -> bytes | None:
            edited = of_reply(content)
            if edited is None:
                proxy.cut()
            return edited

        def refuse(content: bytes) -> bytes | None:
            edited = of_request(content)
            if edited is None:
                proxy.cut()
            return edited

        return refuse, cut_off

    proxy.edits = edits
    with proxy.listening() as port:
        through = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        client = Client(build_app(SQLALCHEMY_DATABASE_URI=through), document, admin.token)
        body = {"name": "monitor", "asset_type": "monitor"}
        send = partial(client.send, "POST", ASSETS, json=body, headers={HEADER: "once"})
        send(expect=503)
        proxy.mend()
        assert (REPLAYED in send(expect=201).headers) is is_committed
    assert creations(app) == 1


def test_a_key_whose_commit_arrives_late_is_not_taken_over(
    app: Flask, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even by a request that has seen the key without its answer, after the end of its lease."""
    body = {"name": "monitor", "asset_type": "monitor"}
    take_over = idempotency._take_over

    def overtaken(claim: idempotency.ClaimedKey, *arguments: object) -> bool:
        monkeypatch.setattr(idempotency, "_take_over", take_over)
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(sa.update(idempotency.keys).values(answer=answer))
        return take_over(claim, *arguments)  # type: ignore[arg-type]

    first = admin.send("POST", ASSETS, json=body, headers={HEADER: "once"}, expect=201)
    with app.app_context(), db.engine.begin() as connection:
        answer = connection.scalar(sa.select(idempotency.keys.c.answer))
        expired = utcnow() - timedelta(hours=1)
        connection.execute(sa.update(idempotency.keys).values(answer=None, lease_expires_at=expired))
    monkeypatch.setattr(idempotency, "_take_over", overtaken)
    again = admin.send("POST", ASSETS, json=body, headers={HEADER: "once"}, expect=201)
    assert (again.data, REPLAYED in again.headers) == (first.data, True)
    assert creations(app) == 1


def test_a_change_is_not_repeated_by_us(
    app: Flask, build_app: BuildApp, backend: Backend, document: Document, admin: Client
) -> None:
    """The client sees by the version whether it has to send it again."""
    asset = admin.call("POST", ASSETS, json={"name": "a", "asset_type": "monitor"}, expect=201)["data"]
    path = f"{ASSETS}/{asset['id']}"
    with losing(build_app, backend, document, admin, LostAnswers(b"UPDATE assets")) as client:
        client.call("PATCH", path, json={"name": "b"}, headers={"If-Match": '"1"'}, expect=503)
        # What the lost answer was about is not read from the cache either.
        assert client.call("GET", path)["data"]["name"] == "b"
        assert client.call("GET", ASSETS)["data"][0]["name"] == "b"
        client.call("PATCH", path, json={"name": "b"}, headers={"If-Match": '"1"'}, expect=412)
    assert_log_matches_tables(app)
