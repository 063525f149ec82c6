"""The change feed: complete, in order, without private objects of others, and cheap to poll."""

import random
import threading
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.containers.models import Container
from app.core.db.unit_of_work import act_in, db
from app.events import service
from app.proof.sealer import seal
from app.servers.models import Server
from tests.backends import on_servers
from tests.client import Body, Client
from tests.conftest import Statements
from tests.factories import ORIGIN, Make
from tests.threads import run_concurrently

EVENTS = "/api/events"


def seal_records(app: Flask) -> None:
    with app.app_context():
        seal()


def poll(client: Client, after: str | None, **query: Any) -> Body:
    parameters = query if after is None else {"after": after, **query}
    feed: Body = client.call("GET", EVENTS, query_string=parameters)["data"]
    return feed


def keys(events: list[Body]) -> list[tuple[str, int, int]]:
    return [(event["type"], event["id"], event["version"]) for event in events]


def test_creation_update_and_deletion_are_events(app: Flask, make: Make, admin: Client) -> None:
    make(Server)
    seal_records(app)
    begin = poll(admin, None)
    assert (begin["events"], begin["more"]) == ([], False)
    server = admin.call("POST", "/api/servers", json={"name": "s"}, expect=201)["data"]
    changed = admin.call("PATCH", f"/api/servers/{server['id']}", json={"rack": "R1", "owner": "me"})["data"]
    admin.call("DELETE", f"/api/servers/{server['id']}")
    assert poll(admin, begin["cursor"])["events"] == []
    seal_records(app)
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


def test_the_whole_log_can_be_read_window_by_window(
    app: Flask, make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [make(Server).id for _ in range(7)]
    seal_records(app)
    monkeypatch.setattr(service, "WINDOW_RECORDS", 3)
    events: list[Body] = []
    after, more = "", True
    while more:
        feed = poll(admin, after)
        assert len(feed["events"]) <= 3
        events += feed["events"]
        after, more = feed["cursor"], feed["more"]
    assert [event["id"] for event in events if event["type"] == "servers"] == ids


def test_types_narrow_the_feed(app: Flask, make: Make, admin: Client) -> None:
    server, container = make(Server), make(Container)
    seal_records(app)
    assert keys(poll(admin, "", types="servers")["events"]) == [("servers", server.id, 1)]
    both = keys(poll(admin, "", types="containers, servers")["events"])
    assert both == [("servers", server.id, 1), ("containers", container.id, 1)]
    answer = admin.call("GET", EVENTS, query_string={"types": "server"}, expect=400)["data"]
    assert answer["did_you_mean"][0] == "servers"


def test_private_objects_are_events_for_their_owner_only(app: Flask, make: Make, user: Client, other: Client) -> None:
    own = user.call("POST", "/api/tasks", json={"title": "mine"}, expect=201)["data"]
    gone = user.call("POST", "/api/tasks", json={"title": "mine, and done"}, expect=201)["data"]
    user.call("DELETE", f"/api/tasks/{gone['id']}")
    server = make(Server)
    seal_records(app)
    public = [("servers", server.id, 1)]
    assert keys(poll(other, "")["events"]) == public
    assert keys(poll(other, "", types="tasks")["events"]) == []
    mine = [("tasks", own["id"], 1), ("tasks", gone["id"], 1), ("tasks", gone["id"], 2)]
    assert keys(poll(user, "")["events"]) == [*mine, *public]
    # Without the right to read users, the type itself is unknown.
    assert user.call("GET", EVENTS, query_string={"types": "users"}, expect=400)["data"]["reason"] == "unknown_type"


def test_administrators_see_the_events_of_all_users(app: Flask, user: Client, admin: Client) -> None:
    own = user.call("POST", "/api/tasks", json={"title": "mine"}, expect=201)["data"]
    seal_records(app)
    events = keys(poll(admin, "")["events"])
    assert ("tasks", own["id"], 1) in events
    assert ("users", user.user.id, 1) in events


def test_polling_without_news_costs_one_statement(
    app: Flask, make: Make, admin: Client, statements: Statements
) -> None:
    make(Server)
    seal_records(app)
    cursor = poll(admin, None)["cursor"]
    first = admin.send("GET", EVENTS, query_string={"after": cursor})
    condition = {"If-None-Match": first.headers["ETag"]}
    with statements() as sent:
        unchanged = admin.send("GET", EVENTS, query_string={"after": cursor}, headers=condition, expect=304)
    assert unchanged.data == b""
    assert len([statement for statement in sent if "audit_" in statement]) == 1
    make(Server)
    seal_records(app)
    changed = admin.send("GET", EVENTS, query_string={"after": cursor}, headers=condition)
    assert changed.headers["ETag"] != condition["If-None-Match"]


@pytest.mark.parametrize("cursor", ["nonsense", "0", "MQ.c2lnbmF0dXJl"])
def test_an_unsigned_cursor_is_refused(cursor: str, admin: Client) -> None:
    answer = admin.call("GET", EVENTS, query_string={"after": cursor}, expect=400)["data"]
    assert answer["reason"] == "invalid_cursor"


def test_a_cursor_of_a_later_state_begins_at_the_end(app: Flask, make: Make, admin: Client) -> None:
    """A backup has been restored: the feed continues instead of failing."""
    make(Server)
    seal_records(app)
    with app.app_context():
        ahead = service.FeedWindow(0, 10**6, 10**6).cursor
    assert poll(admin, ahead)["events"] == []


@on_servers
def test_no_record_is_missed_however_the_writers_commit(app: Flask, make: Make, admin: Client) -> None:
    """In each turn several transactions take ids one after the other and commit in another order."""
    servers = [make(Server).id for _ in range(4)]
    seal_records(app)
    after = poll(admin, None)["cursor"]
    chance = random.Random(4711)
    events: list[Body] = []
    for turn in range(8):
        writers = [changed_server(app, identity, f"turn {turn}") for identity in servers]
        chance.shuffle(writers)
        for writer in writers:
            with app.app_context():
                writer.commit()
                writer.close()
            # Lower ids than those of this window are not committed yet.
            seal_records(app)
            feed = poll(admin, after)
            events, after = events + feed["events"], feed["cursor"]
            assert len(feed["events"]) == 1
    assert sorted(keys(events)) == [("servers", identity, version) for identity in servers for version in range(2, 10)]
    for identity in servers:
        assert [event["version"] for event in events if event["id"] == identity] == list(range(2, 10))


def changed_server(app: Flask, identity: int, rack: str) -> Session:
    """An open transaction that has changed a server and taken the id of its record."""
    with app.app_context():
        act_in(ORIGIN)
        session = db.session.session_factory()
        session.get_one(Server, identity, with_for_update=True).rack = rack
        session.flush()
        return session


@pytest.mark.race
def test_a_reader_beside_writers_misses_nothing(app: Flask, make: Make, admin: Client) -> None:
    servers = [make(Server).id for _ in range(2)]
    seal_records(app)
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
            seal_records(app)
            feed = poll(admin, after)
            events, after = events + feed["events"], feed["cursor"]
            if done == 4 and not feed["events"]:
                return events

    *_, events = run_concurrently([*(partial(write, number) for number in range(4)), read])
    for identity in servers:
        assert [event["version"] for event in events if event["id"] == identity] == list(range(2, 12))
    assert len(events) == 20
