"""Chains of events: each event is linked to the one before it in its chain, and no event waits for another one."""

from collections import Counter
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit import event_chains, recorder
from app.core.audit.models import STORED, AuditEventChain
from app.core.db.unit_of_work import db, writing
from app.proof.sealer import log_name
from tests.backends import on_servers
from tests.threads import run_concurrently


def record_event(app: Flask, *names: str) -> None:
    with app.app_context(), writing():
        for name in names:
            recorder.record("denied", "users", 1, name)


def places(app: Flask) -> list[tuple[int, int, str]]:
    """Chain, number and name of each event, in the order of the chains."""
    columns = STORED.c.event_chain, STORED.c.event_number, STORED.c.resource_name
    with app.app_context():
        first = db.session.scalar(sa.select(sa.func.min(STORED.c.event_chain))) or 0
        rows = db.session.execute(sa.select(*columns).order_by(*columns[:2]))
        return [(chain - first + 1, number, name) for chain, number, name in rows]


def lengths(app: Flask) -> list[int]:
    with app.app_context():
        return list(db.session.scalars(sa.select(AuditEventChain.length).order_by(AuditEventChain.id)))


def test_events_in_turn_are_in_one_chain(app: Flask) -> None:
    record_event(app, "one", "two")
    record_event(app, "three")
    assert places(app) == [(1, 1, "one"), (1, 2, "two"), (1, 3, "three")]
    assert lengths(app) == [3]


@on_servers
def test_an_event_does_not_wait_for_an_open_transaction(app: Flask) -> None:
    with app.app_context(), writing():
        recorder.record("denied", "users", 1, "slow")
        record_event(app, "fast")
        recorder.record("denied", "users", 1, "slower")
    assert places(app) == [(1, 1, "slow"), (1, 2, "slower"), (2, 1, "fast")]


def test_an_undone_event_leaves_its_place(app: Flask) -> None:
    record_event(app, "one")
    with app.app_context():
        recorder.record("denied", "users", 1, "undone")
        db.session.rollback()
        recorder.record("denied", "users", 1, "two")
        with db.session.begin_nested() as savepoint:
            recorder.record("denied", "users", 1, "undone")
            savepoint.rollback()
        db.session.commit()
    assert places(app) == [(1, 1, "one"), (1, 2, "two")]
    assert lengths(app) == [2]


@pytest.mark.race
def test_writers_at_once_do_not_fork_the_chains(app: Flask) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            record_event(app, *(f"{writer}.{number}",) * (1 + number % 2))

    run_concurrently([lambda n=n: write(n) for n in range(8)])
    numbers: dict[int, list[int]] = {}
    for chain, number, _ in places(app):
        numbers.setdefault(chain, []).append(number)
    assert all(positions == list(range(1, len(positions) + 1)) for positions in numbers.values())
    assert sum(map(len, numbers.values())) == 8 * 15
    assert Counter(map(len, numbers.values())) == Counter(lengths(app))


def heads(app: Flask) -> list[int]:
    """The numbers of the events that are noted outside."""
    with app.app_context():
        return [head.number for head in event_chains.read(log_name())]


def test_the_newest_events_are_noted_outside(app: Flask) -> None:
    assert heads(app) == []
    record_event(app, "one", "two")
    assert heads(app) == [2]
    with app.app_context():
        recorder.record("denied", "users", 1, "undone")
        db.session.rollback()
    assert heads(app) == [2]
    with app.app_context():
        with db.session.begin_nested() as savepoint:
            recorder.record("denied", "users", 1, "undone")
            savepoint.rollback()
        db.session.commit()
    assert heads(app) == [2]


@pytest.mark.race
def test_an_earlier_event_does_not_replace_a_later_one_outside(app: Flask) -> None:
    with app.app_context():
        calls = [lambda n=n: note(app, event_chains.Head("log", n % 3, n, f"mac {n}")) for n in range(1, 25)]
        run_concurrently(calls[:12] + calls[:11:-1])
    with app.app_context():
        assert sorted(event_chains.read("log")) == [
            ("log", 0, 24, "mac 24"),
            ("log", 1, 22, "mac 22"),
            ("log", 2, 23, "mac 23"),
        ]


def note(app: Flask, head: event_chains.Head) -> None:
    with app.app_context():
        event_chains.note([head])


def path_of(app: Flask) -> Path:
    with app.app_context():
        return event_chains.heads_path(log_name())


@pytest.mark.parametrize("content", ["nonsense", "[]", '{"1": 1}'])
def test_a_damaged_file_stays_as_evidence(app: Flask, content: str) -> None:
    path_of(app).write_text(content)
    record_event(app, "one")
    assert path_of(app).read_text() == content
    with app.app_context(), pytest.raises(event_chains.DamagedHeads):
        event_chains.read(log_name())


def test_an_event_is_committed_though_the_file_cannot_be_written(app: Flask) -> None:
    path_of(app).mkdir()
    record_event(app, "one")
    path_of(app).rmdir()
    assert places(app) == [(1, 1, "one")]


def test_the_file_is_json(app: Flask) -> None:
    record_event(app, "one")
    with app.app_context():
        mac = db.session.scalars(sa.select(STORED.c.mac)).one()
    ((number, noted),) = orjson.loads(path_of(app).read_bytes()).values()
    assert (number, noted) == (1, mac)
