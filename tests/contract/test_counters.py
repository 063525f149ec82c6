"""The counters follow the objects, whatever path a change takes."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.db.counters.maintenance import fold_counters
from app.core.db.counters.models import ObjectCount, counted_models, counted_of
from app.core.db.dialects.registry import current_dialect
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.values import Choice
from app.gpus.models import Gpu
from app.servers.models import Server
from tests.backends import on_postgresql
from tests.client import Client
from tests.conftest import SignIn
from tests.contract.test_replay import KINDS
from tests.contract.test_search_entries import BULK, BulkEditor
from tests.counters import assert_counters_match_objects
from tests.factories import Make

counts = ObjectCount.__table__
EDITS = 80
edits = st.lists(
    st.tuples(st.sampled_from(KINDS + 2 * BULK), st.integers(0, 10**6), st.integers(0, 10**6)),
    min_size=EDITS,
    max_size=EDITS,
)


@settings(max_examples=1, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(edits=edits)
def test_counters_follow_random_edits(
    app: Flask, make: Make, sign_in: SignIn, edits: list[tuple[str, int, int]]
) -> None:
    editor = BulkEditor(app, make, sign_in(role=Role.ADMIN))
    for number, edit in enumerate(edits):
        editor.edit(*edit)
        if number % 30 == 0:
            with app.app_context():
                fold_counters()
    assert_counters_match_objects(app)


def test_each_choice_of_a_counted_model_is_counted() -> None:
    """Dashboards and facets of an enumeration read no table."""
    for model in counted_models():
        counted = set(counted_of(model).followed)
        for column in model.__table__.columns:
            choices = getattr(column.type, "enum_class", None)
            if choices is not None and issubclass(choices, Choice) and not column.nullable:
                assert column.name in counted, (model, column.name)


def test_what_is_rolled_back_is_not_counted(app: Flask, make: Make) -> None:
    make(Server, status="active")
    with app.app_context():
        db.session.execute(sa.text("UPDATE servers SET status = 'offline', version = version + 1"))
        db.session.rollback()
    assert_counters_match_objects(app)


def test_folding_changes_no_number(app: Flask, make: Make, admin: Client) -> None:
    servers = [make(Server, status="active") for _ in range(4)]
    gpu = make(Gpu, server_id=servers[0].id)
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": admin.user.id})
    for server in servers[1:]:
        admin.call("PATCH", f"/api/servers/{server.id}", json={"status": "offline"})
    with app.app_context():
        fold_counters()
        fold_counters()
        rows = db.session.execute(sa.select(counts.c.resource_type, counts.c.counter, counts.c.key)).all()
    assert len(set(map(str, rows))) == len(rows)
    assert_counters_match_objects(app)


@on_postgresql
def test_writers_and_folding_do_not_wait_for_each_other(app: Flask, make: Make) -> None:
    """Two transactions change the same number, and one folds it meanwhile."""
    first, second = make(Server, status="active"), make(Server, status="active")
    change = sa.text("UPDATE servers SET status = 'offline', version = version + 1 WHERE id = :id")
    with app.app_context():
        engine = db.engine
        with engine.connect() as one, engine.connect() as other:
            for connection, server in ((one, first), (other, second)):
                connection.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
                connection.execute(change, {"id": server.id})
            fold_counters()
            one.rollback()
            other.rollback()
    assert_counters_match_objects(app)


@on_postgresql
def test_two_that_fold_at_once_count_nothing_twice(app: Flask, make: Make) -> None:
    for _ in range(3):
        make(Server, status="active")
    with app.app_context():
        with db.engine.connect() as other:
            # The other one has folded, and has not committed yet.
            other.exec_driver_sql(str(current_dialect().counters.folding()))
            fold_counters()
            other.commit()
        fold_counters()
    assert_counters_match_objects(app)


@on_postgresql
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM object_counts",
        "UPDATE object_counts SET number = number + 1",
        "INSERT INTO object_counts (resource_type, counter, key, number) VALUES ('gpus', 'assigned_to_id', '[7]', 1)",
    ],
)
def test_wrong_numbers_are_found_and_mended(app: Flask, make: Make, damage: str) -> None:
    for model in counted_models():
        make(model)
    run = app.test_cli_runner().invoke
    assert run(args=["counters", "verify"]).exit_code == 0
    with app.app_context():
        db.session.execute(sa.text(damage))
        db.session.commit()
    result = run(args=["counters", "verify"])
    assert (result.exit_code, "run `flask counters rebuild`" in result.output) == (1, True)
    assert run(args=["counters", "rebuild"]).exit_code == 0
    assert run(args=["counters", "verify"]).output == "The numbers are right.\n"
    assert_counters_match_objects(app)


@on_postgresql
def test_a_statement_adds_one_row_a_number(app: Flask, admin: Client) -> None:
    """However many objects it writes."""
    items: list[Any] = [{"name": f"s{n}"} for n in range(50)]
    admin.call("POST", "/api/servers/bulk", expect=(200, 201), json={"items": items})
    with app.app_context():
        rows = db.session.execute(sa.select(counts.c.counter, counts.c.number)).all()
    assert sorted(rows) == [
        ("created_at", 50),
        ("status,server_type,datacenter_id,environment_id", 50),
        ("status,warranty_expires", 50),
    ]
