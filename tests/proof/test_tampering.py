"""Tampering with records, leaves, checkpoints or live rows by a database administrator is found and named."""

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit import recorder
from app.core.audit.mac import derive
from app.core.audit.models import STORED
from app.core.db.unit_of_work import db
from app.datacenters.models import Datacenter
from app.proof.checkpoints import Checkpoint, sign
from app.proof.merkle import leaf_hash
from app.proof.records import RAW_COLUMNS, content_of, leaf_bytes
from app.proof.report import FindingKind, Report, Status
from app.proof.sealer import checkpoint_log, log_name, seal
from app.proof.verification import verify
from app.servers.models import Server
from app.users.models import User
from tests.client import Client
from tests.factories import Make
from tests.proof.administrator import as_administrator, picked
from tests.spread import spread

SQL = Callable[..., Any]
SEALED = 4
"""The number of times that the history is sealed."""


@pytest.fixture
def history(app: Flask, origin_kept: None) -> Flask:
    """Servers that were created, changed and deleted, and logins, sealed several times; the last records are not."""
    with app.app_context():
        site = Datacenter(name="north")
        db.session.add(site)
        db.session.flush()
        servers = [Server(name=f"node-{n}", owner="team 0", datacenter_id=site.id) for n in range(6)]
        db.session.add_all(servers)
        db.session.commit()
        for turn in range(1, SEALED + 2):
            for server in servers[:5]:
                server.owner = f"team {turn}"
            recorder.record("login", "users", 1, f"user {turn}")
            db.session.commit()
            if turn == 2:
                db.session.delete(servers[5])
                db.session.commit()
            if turn <= SEALED:
                seal()
    return app


@dataclass
class Attack:
    """What an attack works with: a connection with all rights, a random source, the checkpoint file, the log's name."""

    sql: SQL
    chance: random.Random
    file: Path
    log: str

    def ids(self, where: str = "true") -> list[int]:
        """The ids of sealed records."""
        rows = self.sql(
            f"SELECT id FROM audit_logs JOIN audit_leaves ON record_id = id WHERE {where} ORDER BY position"
        )
        return [identity for (identity,) in rows]

    def sizes(self) -> list[int]:
        return [size for (size,) in self.sql("SELECT size FROM audit_checkpoints ORDER BY size")]

    @property
    def chain(self) -> int:
        """The chain of the newest event."""
        return newest_event(self)[1]

    def sample(self, of: list[int], count: int = 2) -> list[int]:
        return sorted(self.chance.sample(of, count))


Expected = tuple[FindingKind, dict[str, Any]]
ATTACKS: dict[str, Callable[[Attack], Expected]] = {}


def attack(function: Callable[[Attack], Expected]) -> Callable[[Attack], Expected]:
    ATTACKS[function.__name__] = function
    return function


# Records


@attack
def record_change(by: Attack) -> Expected:
    (record,) = by.sample(by.ids(), 1)
    column = by.chance.choice(["username", "action", "resource_name", "changes", "reason", "request_id", "ip_address"])
    by.sql(f"UPDATE audit_logs SET {column} = coalesce({column}, '') || ' ' WHERE id = {record}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_of_time(by: Attack) -> Expected:
    (record,) = by.sample(by.ids(), 1)
    by.sql(f"UPDATE audit_logs SET created_at = '2020-01-01 00:00:00.000000' WHERE id = {record}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_of_null_to_empty(by: Attack) -> Expected:
    (record,) = by.sample(by.ids(), 1)
    by.sql(f"UPDATE audit_logs SET reason = '' WHERE id = {record}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_with_its_leaf(by: Attack) -> Expected:
    (record,) = by.sample(by.ids("resource_type = 'servers' AND version = 1"), 1)
    by.sql(f"UPDATE audit_logs SET username = 'somebody else' WHERE id = {record}")
    forge_leaf(by, record)
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_before_it_is_sealed(by: Attack) -> Expected:
    (record,) = by.sql("SELECT max(id) FROM audit_logs WHERE action = 'update'").one()
    by.sql(f"UPDATE audit_logs SET username = 'somebody else' WHERE id = {record}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_delete(by: Attack) -> Expected:
    (record,) = by.sample(by.ids(), 1)
    by.sql(f"DELETE FROM audit_logs WHERE id = {record}")
    return FindingKind.RECORD_MISSING, {"record_id": record}


@attack
def record_delete_with_its_leaf(by: Attack) -> Expected:
    (record,) = by.sample(by.ids()[:-1], 1)
    (position,) = by.sql(f"SELECT position FROM audit_leaves WHERE record_id = {record}").one()
    by.sql(f"DELETE FROM audit_logs WHERE id = {record}")
    by.sql(f"DELETE FROM audit_leaves WHERE record_id = {record}")
    return FindingKind.LEAF_MISSING, {"first": position, "last": position}


@attack
def record_delete_before_it_is_sealed(by: Attack) -> Expected:
    record, server = by.sql(
        "SELECT id, resource_id FROM audit_logs WHERE action = 'update' ORDER BY id DESC LIMIT 1"
    ).one()
    by.sql(f"DELETE FROM audit_logs WHERE id = {record}")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": server}


@attack
def record_delete_of_a_whole_object_and_its_leaves_moved_up(by: Attack) -> Expected:
    record = by.ids("resource_type = 'servers' AND action = 'delete'")[0]
    (position,) = by.sql(f"SELECT position FROM audit_leaves WHERE record_id = {record}").one()
    by.sql(f"DELETE FROM audit_logs WHERE id = {record}")
    by.sql(f"DELETE FROM audit_leaves WHERE record_id = {record}")
    for (after,) in by.sql(f"SELECT position FROM audit_leaves WHERE position > {position} ORDER BY position").all():
        by.sql(f"UPDATE audit_leaves SET position = {after - 1} WHERE position = {after}")
    return FindingKind.LOG_REWRITTEN, {}


@attack
def record_insert(by: Attack) -> Expected:
    copy_record(by, by.ids("resource_type = 'servers'")[0], version="99", username="'somebody else'")
    return FindingKind.RECORD_MISSING, {"resource_type": "servers"}


@attack
def record_insert_of_a_copied_event(by: Attack) -> Expected:
    copy_record(by, by.sample(by.ids("action = 'login'"), 1)[0])
    (record,) = by.sql("SELECT max(id) FROM audit_logs").one()
    return FindingKind.RECORD_INSERTED, {"record_id": record}


@attack
def record_insert_of_a_forged_event(by: Attack) -> Expected:
    copy_record(by, by.sample(by.ids("action = 'login'"), 1)[0], username="'somebody else'")
    (record,) = by.sql("SELECT max(id) FROM audit_logs").one()
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_insert_into_the_past(by: Attack) -> Expected:
    copy_record(by, by.sample(by.ids("action = 'login'"), 1)[0], id="-1", mac="'00000000:00'")
    return FindingKind.RECORD_INSERTED, {"record_id": -1}


@attack
def record_swap(by: Attack) -> Expected:
    one, two = by.sample(by.ids("resource_type = 'servers' AND action = 'update'"))
    for column in ("changes", "mac"):
        exchange(by, "audit_logs", column, "id", one, two)
    return FindingKind.RECORD_CHANGED, {"record_id": one}


@attack
def record_reorder(by: Attack) -> Expected:
    one, two = by.sample(by.ids())
    for old, new in ((one, -1), (two, one), (-1, two)):
        by.sql(f"UPDATE audit_logs SET id = {new} WHERE id = {old}")
    return FindingKind.RECORD_CHANGED, {"record_id": one}


@attack
def record_truncate(by: Attack) -> Expected:
    records = by.ids()
    first = records[-by.chance.randint(1, 8)]
    by.sql(f"DELETE FROM audit_logs WHERE id >= {first}")
    return FindingKind.RECORD_MISSING, {"record_id": first}


@attack
def record_roll_back(by: Attack) -> Expected:
    """The newest record of an object is gone, and the object is as it was before."""
    records = by.ids("resource_type = 'servers' AND action = 'update'")
    (record,) = by.sample(records[-5:], 1)
    server, version = by.sql(f"SELECT resource_id, version FROM audit_logs WHERE id = {record}").one()
    by.sql(f"DELETE FROM audit_logs WHERE resource_id = {server} AND version >= {version}")
    by.sql(f"UPDATE servers SET version = {version - 1}, owner = 'team {version - 2}' WHERE id = {server}")
    return FindingKind.RECORD_MISSING, {"record_id": record}


@attack
def record_change_of_its_actor(by: Attack) -> Expected:
    (record,) = by.sample(by.ids(), 1)
    by.sql(f"UPDATE audit_logs SET user_id = coalesce(user_id, 0) + 1, token_id = NULL WHERE id = {record}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_of_layout(by: Attack) -> Expected:
    """Other bytes of the same JSON."""
    (record,) = by.sample(by.ids("changes IS NOT NULL"), 1)
    by.sql(f"UPDATE audit_logs SET changes = replace(changes, ':', ': ') || ' ' WHERE id = {record}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_of_its_object(by: Attack) -> Expected:
    """The records of two objects become those of each other, and so do the objects."""
    one, two = by.sample(live_servers(by))
    for old, new in ((one, -1), (two, one), (-1, two)):
        by.sql(f"UPDATE audit_logs SET resource_id = {new} WHERE resource_type = 'servers' AND resource_id = {old}")
        by.sql(f"UPDATE servers SET id = {new} WHERE id = {old}")
    (record,) = by.sql(f"SELECT min(id) FROM audit_logs WHERE resource_type = 'servers' AND resource_id = {one}").one()
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_change_of_its_mac(by: Attack) -> Expected:
    one, two = by.sample(by.ids("resource_type = 'servers' AND action = 'update'"))
    mac = picked(f"SELECT mac FROM audit_logs WHERE id = {two}")
    by.sql(f"UPDATE audit_logs SET mac = {mac} WHERE id = {one}")
    return FindingKind.RECORD_CHANGED, {"record_id": one}


@attack
def record_swap_of_versions(by: Attack) -> Expected:
    server = live_server(by)
    one, two = by.sample(by.ids(f"resource_type = 'servers' AND resource_id = {server} AND action = 'update'"))
    exchange(by, "audit_logs", "version", "id", one, two, between="4711")
    return FindingKind.RECORD_CHANGED, {"record_id": one}


@attack
def record_delete_of_a_whole_object(by: Attack) -> Expected:
    """With its row, and with nothing left of it but its leaves."""
    server = live_server(by)
    first = by.ids(f"resource_type = 'servers' AND resource_id = {server}")[0]
    by.sql(f"DELETE FROM audit_logs WHERE resource_type = 'servers' AND resource_id = {server}")
    by.sql(f"DELETE FROM servers WHERE id = {server}")
    return FindingKind.RECORD_MISSING, {"record_id": first}


@attack
def record_replay(by: Attack) -> Expected:
    """An earlier change is made once more, with a copy of its record and of its MAC."""
    server = live_server(by)
    old = by.ids(f"resource_type = 'servers' AND resource_id = {server} AND version = 3")[0]
    copy_record(by, old, version=str(SEALED + 3))
    (record,) = by.sql("SELECT max(id) FROM audit_logs").one()
    by.sql(f"UPDATE servers SET version = {SEALED + 3}, owner = 'team 2' WHERE id = {server}")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def record_restore_of_an_older_log_only(by: Attack) -> Expected:
    """Nothing but the table of records is as it was before the newest changes."""
    server = live_servers(by)[0]
    by.sql("DELETE FROM audit_logs WHERE id NOT IN (SELECT record_id FROM audit_leaves)")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": server}


# Events, which raise no version


@attack
def event_delete_before_it_is_sealed(by: Attack) -> Expected:
    record, _, number = newest_event(by)
    by.sql(f"DELETE FROM audit_logs WHERE id = {record}")
    return FindingKind.RECORD_MISSING, {"message": f"Events {number} to {number} of chain {by.chain} have no records."}


@attack
def event_delete_with_its_place_in_the_chain(by: Attack) -> Expected:
    """The database is as it was before the event."""
    record, chain, number = newest_event(by)
    by.sql(f"DELETE FROM audit_logs WHERE id = {record}")
    by.sql(f"UPDATE audit_event_chains SET length = length - 1 WHERE id = {chain}")
    return FindingKind.RECORD_MISSING, {
        "message": f"Event {number} of chain {chain} is noted outside and has no record."
    }


@attack
def event_delete_with_its_chain(by: Attack) -> Expected:
    _, chain, number = newest_event(by)
    by.sql("DELETE FROM audit_event_chains")
    by.sql("DELETE FROM audit_logs WHERE version IS NULL")
    return FindingKind.RECORD_MISSING, {
        "message": f"Event {number} of chain {chain} is noted outside and has no record."
    }


@attack
def event_change_of_the_length_of_its_chain(by: Attack) -> Expected:
    by.sql("UPDATE audit_event_chains SET length = length - 1")
    return FindingKind.LOG_REWRITTEN, {"message": f"The length of the chain of events {by.chain} was changed."}


@attack
def event_move_to_another_chain(by: Attack) -> Expected:
    record, chain, _ = newest_event(by)
    by.sql(f"UPDATE audit_logs SET event_chain = {chain + 1}, event_number = 1 WHERE id = {record}")
    by.sql(f"UPDATE audit_event_chains SET length = length - 1 WHERE id = {chain}")
    by.sql(f"INSERT INTO audit_event_chains VALUES ({chain + 1}, 1)")
    return FindingKind.RECORD_CHANGED, {"record_id": record}


@attack
def event_swap_of_numbers(by: Attack) -> Expected:
    one, two = by.sample(by.ids("action = 'login'"))
    exchange(by, "audit_logs", "event_number", "id", one, two, between="4711")
    return FindingKind.RECORD_CHANGED, {"record_id": one}


@attack
def event_insert_of_a_chain(by: Attack) -> Expected:
    by.sql("INSERT INTO audit_event_chains VALUES (99, 3)")
    return FindingKind.RECORD_MISSING, {"message": "Events 1 to 3 of chain 99 have no records."}


@attack
def event_delete_of_its_chain_only(by: Attack) -> Expected:
    by.sql("DELETE FROM audit_event_chains")
    return FindingKind.LOG_REWRITTEN, {"message": f"The length of the chain of events {by.chain} was changed."}


# Leaves


@attack
def leaf_change(by: Attack) -> Expected:
    (record,) = by.sample(by.ids(), 1)
    by.sql(f"UPDATE audit_leaves SET hash = :hash WHERE record_id = {record}", hash=leaf_hash(b"forged"))
    return FindingKind.LEAF_CHANGED, {"record_id": record}


@attack
def leaf_delete(by: Attack) -> Expected:
    position = by.chance.randrange(by.sizes()[-1] - 1)
    by.sql(f"DELETE FROM audit_leaves WHERE position = {position}")
    return FindingKind.LEAF_MISSING, {"first": position, "last": position}


@attack
def leaf_insert(by: Attack) -> Expected:
    size = by.sizes()[-1]
    (record,) = by.sql("SELECT max(id) FROM audit_logs").one()
    by.sql(f"INSERT INTO audit_leaves VALUES ({size}, {record}, :hash)", hash=leaf_hash(b"forged"))
    return FindingKind.LEAF_INSERTED, {"first": size, "last": size}


@attack
def leaf_insert_for_no_record(by: Attack) -> Expected:
    size = by.sizes()[-1]
    by.sql(f"INSERT INTO audit_leaves VALUES ({size}, 987654, :hash)", hash=leaf_hash(b"forged"))
    return FindingKind.LEAF_INSERTED, {"first": size, "last": size}


@attack
def leaf_swap(by: Attack) -> Expected:
    one, two = by.sample(by.ids())
    exchange(by, "audit_leaves", "hash", "record_id", one, two)
    return FindingKind.LEAF_CHANGED, {"record_id": one}


@attack
def leaf_reorder(by: Attack) -> Expected:
    """Two leaves change places, each with its record."""
    one, two = by.sample(list(range(by.sizes()[0])))
    for old, new in ((one, -1), (two, one), (-1, two)):
        by.sql(f"UPDATE audit_leaves SET position = {new} WHERE position = {old}")
    return FindingKind.LOG_REWRITTEN, {"first": 0, "last": by.sizes()[0] - 1}


@attack
def leaf_truncate(by: Attack) -> Expected:
    first = by.sizes()[-1] - by.chance.randint(1, 5)
    by.sql(f"DELETE FROM audit_leaves WHERE position >= {first}")
    return FindingKind.LEAF_MISSING, {"first": first, "last": by.sizes()[-1] - 1}


@attack
def leaf_roll_back(by: Attack) -> Expected:
    """As if what came after a checkpoint had never been sealed."""
    sizes = by.sizes()
    size = by.chance.choice(sizes[:-1])
    by.sql(f"DELETE FROM audit_leaves WHERE position >= {size}")
    by.sql(f"DELETE FROM audit_checkpoints WHERE size > {size}")
    return FindingKind.LOG_ROLLED_BACK, {"first": size, "last": sizes[-1] - 1}


# Checkpoints


@attack
def checkpoint_change(by: Attack) -> Expected:
    (size,) = by.sample(by.sizes(), 1)
    by.sql(f"UPDATE audit_checkpoints SET note = replace(note, '=', '/') WHERE size = {size}")
    return FindingKind.CHECKPOINT_CHANGED, {"last": size - 1}


@attack
def checkpoint_change_of_its_frontier(by: Attack) -> Expected:
    (size,) = by.sample(by.sizes(), 1)
    by.sql(f"UPDATE audit_checkpoints SET frontier = :forged WHERE size = {size}", forged=bytes(32))
    return FindingKind.CHECKPOINT_CHANGED, {"last": size - 1}


@attack
def checkpoint_delete(by: Attack) -> Expected:
    (size,) = by.sample(by.sizes(), 1)
    by.sql(f"DELETE FROM audit_checkpoints WHERE size = {size}")
    return FindingKind.CHECKPOINT_MISSING, {"last": size - 1}


@attack
def checkpoint_insert(by: Attack) -> Expected:
    size = by.sizes()[0] + 1
    note = sign(Checkpoint(by.log, size, bytes(32)), [derive("a key of the ruler of the database, 1")])
    by.sql(
        f"INSERT INTO audit_checkpoints SELECT {size}, :note, frontier, sealed_at FROM audit_checkpoints LIMIT 1",
        note=note,
    )
    return FindingKind.CHECKPOINT_INSERTED, {"last": size - 1}


@attack
def checkpoint_change_of_its_signature(by: Attack) -> Expected:
    """The whole tree is right, and signed by a key of the attacker."""
    (size,) = by.sample(by.sizes(), 1)
    (note,) = by.sql(f"SELECT note FROM audit_checkpoints WHERE size = {size}").one()
    root = base64.b64decode(note.splitlines()[2])
    forged = sign(Checkpoint(by.log, size, root), [derive("a key of the ruler of the database, 1")])
    by.sql(f"UPDATE audit_checkpoints SET note = :note WHERE size = {size}", note=forged)
    return FindingKind.CHECKPOINT_CHANGED, {"last": size - 1}


@attack
def checkpoint_swap(by: Attack) -> Expected:
    one, two = by.sample(by.sizes())
    exchange(by, "audit_checkpoints", "note", "size", one, two)
    return FindingKind.CHECKPOINT_CHANGED, {"last": one - 1}


@attack
def checkpoint_reorder(by: Attack) -> Expected:
    one, two = by.sample(by.sizes())
    for old, new in ((one, -1), (two, one), (-1, two)):
        by.sql(f"UPDATE audit_checkpoints SET size = {new} WHERE size = {old}")
    return FindingKind.CHECKPOINT_CHANGED, {"last": one - 1}


@attack
def checkpoint_truncate(by: Attack) -> Expected:
    first = by.chance.choice(by.sizes())
    by.sql(f"DELETE FROM audit_checkpoints WHERE size >= {first}")
    return FindingKind.CHECKPOINT_MISSING, {"last": first - 1}


@attack
def checkpoint_roll_back(by: Attack) -> Expected:
    """Everything is as it was at a checkpoint: records, leaves, checkpoints and live rows."""
    sizes = by.sizes()
    size = sizes[2]
    by.sql(f"DELETE FROM audit_logs WHERE id NOT IN (SELECT record_id FROM audit_leaves WHERE position < {size})")
    by.sql(f"DELETE FROM audit_leaves WHERE position >= {size}")
    by.sql(f"DELETE FROM audit_checkpoints WHERE size > {size}")
    by.sql("UPDATE servers SET version = 4, owner = 'team 3', updated_at = (SELECT max(created_at) FROM audit_logs l "
           "WHERE l.resource_type = 'servers' AND l.resource_id = servers.id)")  # fmt: skip
    return FindingKind.CHECKPOINT_MISSING, {"last": sizes[3] - 1}


@attack
def checkpoint_roll_back_to_nothing(by: Attack) -> Expected:
    sizes = by.sizes()
    for table in ("audit_logs", "audit_leaves", "audit_checkpoints", "servers", "datacenters"):
        by.sql(f"DELETE FROM {table}")
    return FindingKind.CHECKPOINT_MISSING, {"last": sizes[0] - 1}


# The name of the log


@attack
def name_change_of_a_log_with_no_checkpoints(by: Attack) -> Expected:
    """The log begins anew: nothing in the database refers to the checkpoints that were signed."""
    for table in ("audit_leaves", "audit_checkpoints"):
        by.sql(f"DELETE FROM {table}")
    by.sql("UPDATE audit_origin SET name = 'itam-audit-log/another'")
    return FindingKind.LOG_REWRITTEN, {}


@attack
def name_change_of_an_empty_database(by: Attack) -> Expected:
    """As after `flask db downgrade base` and `flask db upgrade`."""
    for table in ("audit_logs", "audit_leaves", "audit_checkpoints", "servers", "datacenters"):
        by.sql(f"DELETE FROM {table}")
    by.sql("UPDATE audit_origin SET name = 'itam-audit-log/another'")
    return FindingKind.LOG_REWRITTEN, {}


@attack
def name_change_to_that_of_the_same_file(by: Attack) -> Expected:
    for table in ("audit_logs", "audit_leaves", "audit_checkpoints", "servers", "datacenters"):
        by.sql(f"DELETE FROM {table}")
    by.sql("UPDATE audit_origin SET name = replace(name, '/', '-')")
    return FindingKind.CHECKPOINT_MISSING, {}


@attack
def name_delete(by: Attack) -> Expected:
    by.sql("DELETE FROM audit_origin")
    return FindingKind.LOG_REWRITTEN, {}


# The checkpoint file


@attack
def outside_change(by: Attack) -> Expected:
    (place,) = by.sample(list(range(SEALED)), 1)
    lines = read_file(by)
    lines[place]["note"] = lines[place]["note"].replace("=", "/")
    write_file(by, lines)
    return FindingKind.CHECKPOINT_CHANGED, {"last": lines[place]["size"] - 1}


@attack
def outside_delete(by: Attack) -> Expected:
    (place,) = by.sample(list(range(SEALED - 1)), 1)
    lines = read_file(by)
    gone = lines.pop(place)
    write_file(by, lines)
    return FindingKind.CHECKPOINT_INSERTED, {"last": gone["size"] - 1}


@attack
def outside_nonsense(by: Attack) -> Expected:
    by.file.write_bytes(by.file.read_bytes() + b"nonsense\n")
    return FindingKind.CHECKPOINT_CHANGED, {}


# Live rows


@attack
def row_change(by: Attack) -> Expected:
    server = live_server(by)
    changes = ["owner = 'forged'", "name = 'forged'", "status = 'retired'", "datacenter_id = NULL", "memory_gb = 7"]
    changes += ["updated_at = created_at", "tags = '[\"forged\"]'", "version = version + 1"]
    by.sql(f"UPDATE servers SET {by.chance.choice(changes)} WHERE id = {server}")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": server}


@attack
def row_change_with_its_version(by: Attack) -> Expected:
    server = live_server(by)
    by.sql(f"UPDATE servers SET owner = 'forged', version = version + 1 WHERE id = {server}")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": server}


@attack
def row_delete(by: Attack) -> Expected:
    server = live_server(by)
    by.sql(f"DELETE FROM servers WHERE id = {server}")
    return FindingKind.ROW_MISSING, {"resource_type": "servers", "resource_id": server}


@attack
def row_insert(by: Attack) -> Expected:
    copy_row(by, live_server(by), 4711)
    return FindingKind.ROW_INSERTED, {"resource_type": "servers", "resource_id": 4711}


@attack
def row_insert_of_one_that_was_deleted(by: Attack) -> Expected:
    ((deleted,),) = by.sql("SELECT resource_id FROM audit_logs WHERE action = 'delete'").all()
    copy_row(by, live_server(by), deleted)
    return FindingKind.ROW_INSERTED, {"resource_type": "servers", "resource_id": deleted}


@attack
def row_swap(by: Attack) -> Expected:
    one, two = by.sample(live_servers(by))
    exchange(by, "servers", "name", "id", one, two, between="'kept'")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": one}


@attack
def row_reorder(by: Attack) -> Expected:
    one, two = by.sample(live_servers(by))
    for old, new in ((one, -1), (two, one), (-1, two)):
        by.sql(f"UPDATE servers SET id = {new} WHERE id = {old}")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": one}


@attack
def row_truncate(by: Attack) -> Expected:
    first = live_servers(by)[0]
    by.sql("DELETE FROM servers")
    return FindingKind.ROW_MISSING, {"resource_type": "servers", "resource_id": first}


@attack
def row_restore_of_an_older_table_only(by: Attack) -> Expected:
    """Nothing but the table of servers is as it was two changes ago."""
    server = live_servers(by)[0]
    by.sql(
        f"UPDATE servers SET version = version - 2, owner = 'team {SEALED - 1}', updated_at = (SELECT created_at "
        "FROM audit_logs l WHERE l.resource_type = 'servers' AND l.resource_id = servers.id "
        "AND l.version = servers.version - 2)"
    )
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": server}


@attack
def row_roll_back(by: Attack) -> Expected:
    server = live_server(by)
    by.sql(f"UPDATE servers SET version = version - 1, owner = 'team {SEALED}' WHERE id = {server}")
    return FindingKind.ROW_CHANGED, {"resource_type": "servers", "resource_id": server}


def newest_event(by: Attack) -> tuple[int, int, int]:
    """The id of the newest event, its chain and its number there."""
    counts: tuple[int, int, int] = by.sql(
        "SELECT id, event_chain, event_number FROM audit_logs WHERE version IS NULL ORDER BY id DESC LIMIT 1"
    ).one()
    return counts


def live_servers(by: Attack) -> list[int]:
    return [server for (server,) in by.sql("SELECT id FROM servers ORDER BY id")]


def live_server(by: Attack) -> int:
    return by.chance.choice(live_servers(by))


def exchange(by: Attack, table: str, column: str, key: str, one: int, two: int, between: str | None = None) -> None:
    """Exchange a column of two rows; a unique column holds `between` meanwhile."""
    values = dict(by.sql(f"SELECT {key}, {column} FROM {table} WHERE {key} IN ({one}, {two})").all())
    if between is not None:
        by.sql(f"UPDATE {table} SET {column} = {between} WHERE {key} = {one}")
    by.sql(f"UPDATE {table} SET {column} = :value WHERE {key} = {two}", value=values[one])
    by.sql(f"UPDATE {table} SET {column} = :value WHERE {key} = {one}", value=values[two])


def copy_record(by: Attack, record: int, **other: str) -> None:
    names = [column.name for column in STORED.columns if column.name != "id" or "id" in other]
    values = ", ".join(other.get(name, name) for name in names)
    by.sql(f"INSERT INTO audit_logs ({', '.join(names)}) SELECT {values} FROM audit_logs WHERE id = {record}")


def copy_row(by: Attack, server: int, identity: int) -> None:
    other = {"id": str(identity), "name": "'forged'"}
    names = [column.name for column in Server.__table__.columns]
    values = ", ".join(other.get(name, name) for name in names)
    by.sql(f"INSERT INTO servers ({', '.join(names)}) SELECT {values} FROM servers WHERE id = {server}")


def forge_leaf(by: Attack, record: int) -> None:
    row = by.sql(sa.select(*RAW_COLUMNS).where(STORED.c.id == record)).one()
    forged = leaf_hash(leaf_bytes(content_of(row)))
    by.sql(f"UPDATE audit_leaves SET hash = :hash WHERE record_id = {record}", hash=forged)


def read_file(by: Attack) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in by.file.read_bytes().splitlines()]


def write_file(by: Attack, lines: list[dict[str, Any]]) -> None:
    by.file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def verify_log(app: Flask) -> Report:
    with app.app_context():
        return verify()


def test_an_untouched_log_is_intact(history: Flask) -> None:
    report = verify_log(history)
    assert report.lines
    assert (report.status, report.findings, report.doubts) == (Status.INTACT, [], [])
    assert report.checkpoints == SEALED
    assert report.records == report.size + report.unsealed
    assert report.unsealed == 6


@spread
@pytest.mark.parametrize("name", ATTACKS)
def test_tampering_is_found_and_named(history: Flask, name: str) -> None:
    seed = random.randrange(2**32)
    with history.app_context():
        file, log = checkpoint_log().path, log_name()
    with as_administrator(history) as connection:

        def sql(statement: Any, **values: Any) -> Any:
            prepared = sa.text(statement) if isinstance(statement, str) else statement
            return connection.execute(prepared, values)

        kind, where = ATTACKS[name](Attack(sql, random.Random(seed), file, log))
    report = verify_log(history)
    assert report.status is Status.TAMPERED
    text = "\n".join(report.lines())
    matching = [finding for finding in report.findings if finding.kind is kind]
    assert any(all(getattr(finding, key) == value for key, value in where.items()) for finding in matching), (
        seed,
        text,
    )
    runner = history.test_cli_runner()
    result = runner.invoke(args=["audit", "verify"])
    assert (result.exit_code, kind.value in result.output) == (1, True)


@pytest.mark.parametrize("shortens_chain", [False, True])
@pytest.mark.parametrize("is_followed", [False, True])
@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_failed_login_that_is_deleted_before_it_is_sealed_is_missed(
    app: Flask, make: Make, anonymous: Client, shortens_chain: bool, is_followed: bool, is_sealed: bool
) -> None:
    """Also after the sealer has sealed what is left."""
    user = make(User)

    def fail() -> None:
        credentials = {"username": user.username, "password": "a wrong password"}
        anonymous.call("POST", "/api/auth/login", expect=401, json=credentials)

    fail()
    fail()
    with as_administrator(app) as connection:
        connection.execute(sa.text(f"DELETE FROM audit_logs WHERE id = {picked('SELECT max(id) FROM audit_logs')}"))
        if shortens_chain:
            connection.execute(sa.text("UPDATE audit_event_chains SET length = length - 1"))
    if is_followed:
        fail()
    if is_sealed:
        with app.app_context():
            seal()
    assert verify_log(app).status is Status.TAMPERED
