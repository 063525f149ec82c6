"""The chain: every record carries a MAC over its own text and the record before it, whoever wrote it."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask

from app.core.audit import mac as chain
from app.core.audit.mac import get_to_change
from app.core.audit.models import COLUMNS, STORED
from app.core.db.unit_of_work import db
from app.resource.bulk import writer
from app.servers.models import Server
from tests.client import Client
from tests.conftest import Statements
from tests.factories import Make
from tests.threads import run_concurrently


def records(app: Flask, **where: Any) -> list[dict[str, Any]]:
    """The stored records, oldest first."""
    with app.app_context():
        statement = sa.select(STORED).filter_by(**where).order_by(STORED.c.id)
        return [dict(row) for row in db.session.execute(statement).mappings()]


def expected_macs(app: Flask, of_object: list[dict[str, Any]]) -> list[str]:
    """The MACs of an object or of a chain of events, from the description alone: RFC 5869, RFC 8785, HMAC-SHA256."""
    secret = app.config["SECRET_KEY"].encode()
    hkdf = {
        purpose: HKDF(SHA256(), length, None, f"itam audit log, {purpose}, 1".encode()).derive(secret)
        for purpose, length in (("key id", 4), ("record", 32))
    }
    macs: list[str] = []
    for record in of_object:
        content = {name: record[name] for name in COLUMNS}
        content["created_at"] = record["created_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        content["previous"] = macs[-1] if macs else None
        text = "{" + ",".join(f"{_json(name)}:{_json(content[name])}" for name in sorted(content)) + "}"
        digest = hmac.new(hkdf["record"], text.encode(), hashlib.sha256).hexdigest()
        macs.append(f"{hkdf['key id'].hex()}:{digest}")
    return macs


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def test_an_object_s_records_are_linked(app: Flask, make: Make, admin: Client) -> None:
    server = make(Server, name="机房 “one”")
    for status in ("maintenance", "active"):
        admin.call("PATCH", f"/api/servers/{server.id}", json={"status": status}, headers={"X-Audit-Reason": "why"})
    admin.call("DELETE", f"/api/servers/{server.id}")
    of_server = records(app, resource_type="servers")
    assert [record["version"] for record in of_server] == [1, 2, 3, 4]
    assert [record["mac"] for record in of_server] == expected_macs(app, of_server)


def test_events_are_linked_to_those_before_them(app: Flask, admin: Client, user: Client) -> None:
    logins = records(app, action="login")
    assert [(record["event_number"], record["mac"]) for record in logins] == [
        *enumerate(expected_macs(app, logins), 1),
    ]


def test_the_set_based_writer_links_too(app: Flask, make: Make, statements: Statements) -> None:
    servers = [make(Server) for _ in range(5)]
    with app.app_context():
        changes = [
            writer.Change(server.id, 1, server.name, {"owner": server.owner}, {"owner": f"team {server.id}"})
            for server in servers
        ]
        with statements() as sent:
            writer.update(Server, changes)
        db.session.commit()
        rows = [dict(row) for row in db.session.execute(sa.select(Server.__table__)).mappings()]
        writer.delete(Server, rows)
        db.session.commit()
    assert sum("audit_logs" in statement and "SELECT" in statement for statement in sent) == 1
    for server in servers:
        of_server = records(app, resource_type="servers", resource_id=server.id)
        assert [record["version"] for record in of_server] == [1, 2, 3]
        assert [record["mac"] for record in of_server] == expected_macs(app, of_server)


def test_a_request_reads_what_it_links_to_with_the_object(
    app: Flask, make: Make, admin: Client, statements: Statements
) -> None:
    server = make(Server)
    with statements() as sent:
        admin.call("PATCH", f"/api/servers/{server.id}", json={"owner": "somebody"})
    (looking,) = (statement for statement in sent if "FROM audit_logs" in statement)
    assert "FROM servers" in looking


def test_what_was_read_of_an_undone_change_is_linked_to_nothing(app: Flask, make: Make) -> None:
    identity = make(Server).id
    with app.app_context():
        savepoint = db.session.begin_nested()
        db.session.get_one(Server, identity).owner = "undone"
        db.session.flush()
        assert get_to_change(Server, identity) is not None
        savepoint.rollback()
        server = db.session.get_one(Server, identity)
        for owner in ("first", "second"):
            server.owner = owner
            db.session.flush()
        db.session.commit()
    of_server = records(app, resource_type="servers")
    assert [record["version"] for record in of_server] == [1, 2, 3]
    assert [record["mac"] for record in of_server] == expected_macs(app, of_server)


@pytest.mark.race
def test_writers_at_once_do_not_fork_the_chain(app: Flask, make: Make, admin: Client) -> None:
    server = make(Server)
    path = f"/api/servers/{server.id}"
    run_concurrently([lambda n=n: admin.call("PATCH", path, json={"owner": f"team {n}"}) for n in range(8)])
    of_server = records(app, resource_type="servers")
    assert [record["version"] for record in of_server] == list(range(1, 10))
    assert [record["mac"] for record in of_server] == expected_macs(app, of_server)


def test_a_record_without_a_mac_is_refused(app: Flask, make: Make) -> None:
    make(Server)
    columns = ", ".join(COLUMNS)
    others = columns.replace("version", "99")
    with app.app_context(), pytest.raises(sa.exc.IntegrityError):
        db.session.execute(sa.text(f"INSERT INTO audit_logs ({columns}) SELECT {others} FROM audit_logs"))


def test_a_new_key_begins_where_the_old_one_ended(app: Flask, make: Make, build_app: Any) -> None:
    server = make(Server)
    old = app.config["SECRET_KEY"]
    later = build_app(AUDIT_KEY="another key of the audit log, 32 bytes", AUDIT_KEYS_BEFORE=(old,))
    with later.app_context():
        db.session.get_one(Server, server.id).owner = "somebody"
        db.session.commit()
        current, before = chain.keyring()
    first, second = records(app, resource_type="servers")
    content = {name: second[name] for name in COLUMNS}
    content["created_at"] = chain.canonical_time(content["created_at"])
    assert first["mac"].startswith(f"{before.id}:")
    assert second["mac"] == chain.mac_of(current, content, first["mac"])
    assert second["mac"] != chain.mac_of(replace(current, mac=before.mac), content, first["mac"])
