"""The blocks `reading` and `writing`: what commits, what is rolled back, and what is called after it."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, g

from app.core.audit.models import AuditLog
from app.core.db.endings import after_commit, after_rollback, undo_at_end
from app.core.db.unit_of_work import db, reading, unit_of_work, writing
from app.datacenters.models import Datacenter
from app.users.passwords import hash_password, is_password
from tests.client import PASSWORD, Client
from tests.factories import Make
from tests.threads import run_concurrently


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def names() -> list[str]:
    with reading():
        return list(db.session.scalars(sa.select(Datacenter.name).order_by(Datacenter.name)))


def add(name: str) -> None:
    db.session.add(Datacenter(name=name))
    db.session.flush()


@pytest.mark.usefixtures("context")
class TestBlocks:
    def test_a_block_commits_at_its_end(self) -> None:
        with writing():
            add("a")
        assert names() == ["a"]

    def test_an_exception_rolls_it_back(self) -> None:
        def fail() -> None:
            with writing():
                add("a")
                raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011 - our own
            fail()
        assert names() == []

    def test_a_dry_run_is_rolled_back(self) -> None:
        with writing():
            add("a")
            undo_at_end()
        assert names() == []
        with writing():
            add("b")
        assert names() == ["b"]

    def test_the_action_names_the_changes_of_its_block(self) -> None:
        with writing():
            add("a")
        for action in ("assign", "update"):
            with writing(action):
                db.session.scalars(sa.select(Datacenter)).one().location = action
        with reading():
            actions = list(db.session.scalars(sa.select(AuditLog.action).order_by(AuditLog.id)))
        assert actions == ["create", "assign", "update"]

    def test_a_block_inside_of_one_that_has_not_begun_is_a_transaction_of_its_own(self) -> None:
        def fail() -> None:
            with writing():
                with writing():
                    add("inner")
                add("outer")
                raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011 - our own
            fail()
        assert names() == ["inner"]

    @pytest.mark.parametrize("block", [reading, writing])
    def test_a_block_inside_of_one_that_has_begun_is_refused(self, block: Callable[[], Any]) -> None:
        def nest() -> None:
            with writing():
                add("outer")
                with block():
                    pass

        with pytest.raises(RuntimeError, match="transaction is open"):
            nest()
        assert names() == []

    def test_no_password_is_hashed_while_locks_are_held(self) -> None:
        with writing():
            hashed = hash_password(PASSWORD).hash
            add("locked")
            with pytest.raises(RuntimeError, match=r"Hashing a password in a transaction\."):
                hash_password(PASSWORD)
            with pytest.raises(RuntimeError, match=r"Comparing a password in a transaction\."):
                is_password(PASSWORD, hashed)

    def test_a_reader_may_write_in_a_block_and_goes_on_reading(self) -> None:
        with reading():
            assert unit_of_work().is_reading
            with writing():
                add("a")
            assert unit_of_work().is_reading
            assert names() == ["a"]

    def test_what_is_called_after_the_end(self) -> None:
        calls: list[tuple[str, list[int]]] = []

        def committed(items: Collection[int]) -> None:
            calls.append(("committed", list(items)))

        def rolled_back(items: Collection[int]) -> None:
            calls.append(("rolled back", list(items)))

        for discard in (False, True):
            with writing():
                after_commit(committed, 2, 1)
                after_commit(committed, 2, 3)
                after_rollback(rolled_back, 7)
                add(f"discarded: {discard}")
                if discard:
                    undo_at_end()
                assert calls == ([("committed", [2, 1, 3])] if discard else [])
        assert calls == [("committed", [2, 1, 3]), ("rolled back", [7])]

    @pytest.mark.race
    def test_a_block_sees_what_others_have_committed_since(self, app: Flask, make: Make) -> None:
        identity = make(Datacenter, name="before").id

        def rename() -> None:
            with app.app_context(), writing():
                db.session.get_one(Datacenter, identity).name = "after"

        with reading():
            datacenter = db.session.get_one(Datacenter, identity)
        assert datacenter.name == "before"
        run_concurrently([rename])
        with reading():
            assert datacenter.name == "after"


def test_nothing_else_of_ours_is_kept_with_the_request(app: Flask, admin: Client) -> None:
    state_names: set[str] = set()

    def note(_error: BaseException | None) -> None:
        state_names.update(name for name in g if not name.startswith("_"))
        state_names.update(map(str, db.session.info))

    app.teardown_appcontext_funcs.append(note)
    try:
        identity = admin.call("POST", "/api/datacenters", json={"name": "a"}, expect=201)["data"]["id"]
        admin.call("PATCH", f"/api/datacenters/{identity}", json={"name": "b"})
        admin.call("GET", "/api/datacenters")
    finally:
        app.teardown_appcontext_funcs.remove(note)
    assert state_names == {"unit_of_work"}
