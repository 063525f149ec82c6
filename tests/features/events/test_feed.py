"""The change feed: nothing is missed, nothing is shown that is not the caller's to see, and polling costs little."""

import random
import threading
from functools import partial
from typing import Any

import pytest
from flask import Flask, g
from sqlalchemy.orm import Session

from app.containers.models import Container
from app.core.db.unit_of_work import db
from app.events import service
from app.proof.sealer import seal
from app.servers.models import Server
from tests.backends import on_postgresql
from tests.client import Body, Client
from tests.conftest import Statements
from tests.factories import ORIGIN, Make
from tests.threads import at_once

EVENTS = "/api/events"


def sealed(app: Flask) -> None:
    with app.app_context():
        seal()


def poll(client: Client, after: str | None, **query: Any) -> Body:
    given = query if after is None else {"after": after, **query}
    feed: Body = client.call("GET", EVENTS, query_string=given)["data"]
    return feed


def told(events: list[Body]) -> list[tuple[str, int, int]]:
    return [(event["type"], event["id"], event["version"]) for event in events]


def test_what_changed_since(app: Flask, make: Make, admin: Client) -> None:
    make(Server)
    sealed(app)
    begin = poll(admin, None)
    assert (begin["events"], begin["more"]) == ([], False)
    server = admin.call("POST", "/api/servers", json={"name": "s"}, expect=201)["data"]
    changed = admin.call("PATCH", f"/api/servers/{server['id']}", json={"rack": "R1", "owner": "me"})["data"]
    admin.call("DELETE", f"/api/servers/{server['id']}")
    assert poll(admin, begin["cursor"])["events"] == []
    sealed(app)
    feed = poll(admin, begin["cursor"])
    of_it = {"type": "servers", "id": server["id"], "name": "s"}
    created, updated, deleted = feed["events"]
    assert {"name", "status"} <= set(created["fields"])
    assert created == {
        **of_it,
        "action": "create",
        "version": 1,
        "fields": created["fields"],
        "at": server["created_at"],
    }
    assert updated == {
        **of_it, "action": "update", "version": 2, "fields": ["owner", "rack"], "at": changed["updated_at"],
    }  # fmt: skip
    assert (deleted["action"], deleted["version"], deleted["fields"]) == ("delete", 3, [])
    assert poll(admin, feed["cursor"]) == {"events": [], "cursor": feed["cursor"], "more": False}


def test_from_the_beginning_of_the_log_part_by_part(
    app: Flask, make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make(Server).id for _ in range(7)]
    sealed(app)
    monkeypatch.setattr(service, "AT_ONCE", 3)
    events: list[Body] = []
    after, more = "", True
    while more:
        feed = poll(admin, after)
        assert len(feed["events"]) <= 3
        events += feed["events"]
        after, more = feed["cursor"], feed["more"]
    assert [event["id"] for event in events if event["type"] == "servers"] == made


def test_only_the_types_that_are_asked_for(app: Flask, make: Make, admin: Client) -> None:
    server, container = make(Server), make(Container)
    sealed(app)
    assert told(poll(admin, "", types="servers")["events"]) == [("servers", server.id, 1)]
    both = told(poll(admin, "", types="containers, servers")["events"])
    assert both == [("servers", server.id, 1), ("containers", container.id, 1)]
    answer = admin.call("GET", EVENTS, query_string={"types": "server"}, expect=400)["data"]
    assert answer["did_you_mean"][0] == "servers"


def test_what_is_not_for_everybody_is_told_to_nobody_else(app: Flask, make: Make, user: Client, other: Client) -> None:
    own = user.call("POST", "/api/tasks", json={"title": "mine"}, expect=201)["data"]
    gone = user.call("POST", "/api/tasks", json={"title": "mine, and done"}, expect=201)["data"]
    user.call("DELETE", f"/api/tasks/{gone['id']}")
    server = make(Server)
    sealed(app)
    everybody = [("servers", server.id, 1)]
    assert told(poll(other, "")["events"]) == everybody
    assert told(poll(other, "", types="tasks")["events"]) == []
    mine = [("tasks", own["id"], 1), ("tasks", gone["id"], 1), ("tasks", gone["id"], 2)]
    assert told(poll(user, "")["events"]) == [*mine, *everybody]
    # Not even that there are users.
    assert user.call("GET", EVENTS, query_string={"types": "users"}, expect=400)["data"]["reason"] == "unknown_type"


def test_an_administrator_is_told_of_everybody(app: Flask, user: Client, admin: Client) -> None:
    own = user.call("POST", "/api/tasks", json={"title": "mine"}, expect=201)["data"]
    sealed(app)
    events = told(poll(admin, "")["events"])
    assert ("tasks", own["id"], 1) in events
    assert ("users", user.user.id, 1) in events


def test_that_nothing_happened_is_cheap(app: Flask, make: Make, admin: Client, statements: Statements) -> None:
    make(Server)
    sealed(app)
    cursor = poll(admin, None)["cursor"]
    first = admin.send("GET", EVENTS, query_string={"after": cursor})
    known = {"If-None-Match": first.headers["ETag"]}
    with statements() as sent:
        unchanged = admin.send("GET", EVENTS, query_string={"after": cursor}, headers=known, expect=304)
    assert unchanged.data == b""
    assert len([statement for statement in sent if "audit_" in statement]) == 1
    make(Server)
    sealed(app)
    changed = admin.send("GET", EVENTS, query_string={"after": cursor}, headers=known)
    assert changed.headers["ETag"] != known["If-None-Match"]


@pytest.mark.parametrize("cursor", ["nonsense", "0", "MQ.c2lnbmF0dXJl"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str, admin: Client) -> None:
    answer = admin.call("GET", EVENTS, query_string={"after": cursor}, expect=400)["data"]
    assert answer["reason"] == "invalid_cursor"


def test_a_cursor_of_a_later_state_begins_at_the_end(app: Flask, make: Make, admin: Client) -> None:
    """The database was put back to an older state: the feed goes on, and does not fail."""
    make(Server)
    sealed(app)
    with app.app_context():
        ahead = service.Stretch(0, 10**6, 10**6).cursor
    assert poll(admin, ahead)["events"] == []


@on_postgresql
def test_no_record_is_missed_however_the_writers_commit(app: Flask, make: Make, admin: Client) -> None:
    """Each turn several transactions draw their ids one after the other, and commit in another order."""
    servers = [make(Server).id for _ in range(4)]
    sealed(app)
    after = poll(admin, None)["cursor"]
    chance = random.Random(4711)
    events: list[Body] = []
    for turn in range(8):
        writers = [begun(app, identity, f"turn {turn}") for identity in servers]
        chance.shuffle(writers)
        for writer in writers:
            with app.app_context():
                writer.commit()
                writer.close()
            # Ids below the ones that are shown here are not committed yet.
            sealed(app)
            feed = poll(admin, after)
            events, after = events + feed["events"], feed["cursor"]
            assert len(feed["events"]) == 1
    assert sorted(told(events)) == [("servers", identity, version) for identity in servers for version in range(2, 10)]
    for identity in servers:
        assert [event["version"] for event in events if event["id"] == identity] == list(range(2, 10))


def begun(app: Flask, identity: int, rack: str) -> Session:
    """A transaction that has changed a server, and has drawn the id of its record."""
    with app.app_context():
        g.origin = ORIGIN
        session = Session(db.engine)
        session.get_one(Server, identity, with_for_update=True).rack = rack
        session.flush()
        return session


def test_a_reader_beside_writers_is_told_everything_in_order(app: Flask, make: Make, admin: Client) -> None:
    servers = [make(Server).id for _ in range(2)]
    sealed(app)
    start = poll(admin, None)["cursor"]
    writing = threading.Semaphore(0)

    def write(number: int) -> list[Body]:
        for turn in range(5):
            admin.call("PATCH", f"/api/servers/{servers[(number + turn) % 2]}", json={"rack": f"{number} {turn}"})
        writing.release()
        return []

    def read() -> list[Body]:
        events: list[Body] = []
        after, done = start, 0
        while True:
            done += writing.acquire(blocking=False)
            sealed(app)
            feed = poll(admin, after)
            events, after = events + feed["events"], feed["cursor"]
            if done == 4 and not feed["events"]:
                return events

    *_, events = at_once([*(partial(write, number) for number in range(4)), read])
    for identity in servers:
        assert [event["version"] for event in events if event["id"] == identity] == list(range(2, 12))
    assert len(events) == 20
