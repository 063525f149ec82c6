"""Login by username or e-mail: equal responses to all failures, lockout, and audit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app.auth.lockout import DUMMY_COUNTERS, LOCK_DURATION, MAX_FAILURES
from app.auth.models import DummyLoginCounter
from app.core.db.unit_of_work import db, reading
from app.core.http.access import Role
from app.core.values import utcnow
from app.users import passwords
from app.users.models import User
from tests.client import PASSWORD, Body, Client
from tests.factories import Make
from tests.openapi import Document
from tests.spread import any_database
from tests.threads import run_concurrently

LOGIN = "/api/auth/login"
ID = {"X-Request-ID": "request-1"}


def log_in(client: Client, username: str, password: str = PASSWORD, expect: int = 200) -> Body:
    return client.call("POST", LOGIN, json={"username": username, "password": password}, expect=expect)


def set_user(app: Flask, user: User, **values: Any) -> None:
    """Change columns that are not part of the audited object."""
    with app.app_context():
        db.session.execute(sa.update(User.__table__).where(User.__table__.c.id == user.id).values(**values))
        db.session.commit()


def stored(app: Flask, user: User) -> User:
    with app.app_context():
        return db.session.get_one(User, user.id)


def test_login_returns_tokens_and_the_user(app: Flask, document: Document, anonymous: Client, make: Make) -> None:
    user = make(User, username="Ada", email="Ada@Example.com", role=Role.ADMIN)
    for name in ("Ada", "ada", "ADA", " ada ", "Ada@Example.com", "ada@example.COM"):
        data = log_in(anonymous, name)["data"]
        assert data["token_type"] == "Bearer"
        assert data["expires_in"] == 30 * 60
        assert (data["user"]["id"], data["user"]["role"]) == (user.id, "admin")
        me = Client(app, document, data["access_token"]).call("GET", "/api/auth/me")["data"]
        assert me == data["user"]


def test_last_login_is_stored_without_a_new_version(app: Flask, anonymous: Client, admin: Client, make: Make) -> None:
    user = make(User)
    never = f"/api/users?last_login_at__isnull=true&username={user.username}"
    assert admin.call("GET", never)["pagination"]["total"] == 1
    before = utcnow()
    log_in(anonymous, user.username)
    seen = stored(app, user)
    assert seen.last_login_at is not None
    assert before <= seen.last_login_at <= utcnow()
    assert (seen.last_login_ip, seen.version) == ("127.0.0.1", 1)
    assert admin.call("GET", never)["pagination"]["total"] == 0


def answers(client: Client, attempts: list[tuple[str, str]]) -> list[TestResponse]:
    """The responses to failed logins, under one request id."""
    return [
        client.send("POST", LOGIN, json={"username": name, "password": password}, headers=ID, expect=401)
        for name, password in attempts
    ]


def test_all_failures_get_the_same_response(app: Flask, anonymous: Client, make: Make) -> None:
    active, locked, inactive = make(User), make(User), make(User, is_active=False)
    set_user(app, locked, locked_until=utcnow() + timedelta(minutes=5), failed_login_attempts=5)
    attempts = [
        ("nobody", "wrong password"),
        ("nobody", PASSWORD),
        ("x" * 255, "x"),
        ("no\x00body", "wrong password"),
        ("%", PASSWORD),
        (active.username, "wrong password"),
        (active.username, PASSWORD + " "),
        (active.username, PASSWORD.upper()),
        (active.username, "x" * 1024),
        (active.username + " x", PASSWORD),
        (locked.username, PASSWORD),
        (locked.username, "wrong password"),
        (inactive.username, PASSWORD),
        (inactive.username, "wrong password"),
    ]
    first, *others = answers(anonymous, attempts)
    assert first.json["data"] == {"reason": "wrong_credentials"}  # type: ignore[index]
    for answer in others:
        assert answer.data == first.data
        assert comparable_headers(answer) == comparable_headers(first)


def comparable_headers(answer: TestResponse) -> dict[str, str]:
    """The headers without the rate limit of the client's address, which does not depend on any account."""
    return {name: value for name, value in answer.headers.items() if not name.startswith("RateLimit-")}


class Work(NamedTuple):
    """The work of the server for one request, as far as it takes measurable time."""

    sent: list[str]
    """The statements and commits, in order."""
    hashes: list[bytes]
    """The salts and costs of the hashes that are computed."""


@contextmanager
def observed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Work]]:
    """Record the work of the server; the function that it yields returns what was done since its last call."""
    sent: list[str] = []
    hashes: list[bytes] = []
    check_password = passwords.bcrypt.checkpw

    def note_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    def note_commit(_connection: Any) -> None:
        sent.append("COMMIT")

    def note_hash(password: bytes, hashed: bytes) -> bool:
        hashes.append(hashed)
        return check_password(password, hashed)

    def done() -> Work:
        work = Work(sent.copy(), hashes.copy())
        sent.clear()
        hashes.clear()
        return work

    with app.app_context():
        engine = db.engine
    # On new connections only: one that has served a job is first told how long a request waits for locks.
    engine.dispose()
    sa.event.listen(engine, "after_cursor_execute", note_statement)
    sa.event.listen(engine, "commit", note_commit)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(passwords.bcrypt, "checkpw", note_hash)
            yield done
    finally:
        sa.event.remove(engine, "after_cursor_execute", note_statement)
        sa.event.remove(engine, "commit", note_commit)


def test_all_failures_take_the_same_work(
    app: Flask, anonymous: Client, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal time for all failures: the same statements, as many rows written, and one hash of the same cost."""
    active, locked, inactive = make(User), make(User), make(User, is_active=False)
    set_user(app, locked, locked_until=utcnow() + timedelta(minutes=5), failed_login_attempts=5)
    # Otherwise the first unknown name would insert its counter.
    with app.app_context():
        db.session.add_all(DummyLoginCounter(id=number, failed_login_attempts=0) for number in range(DUMMY_COUNTERS))
        db.session.commit()
    attempts = [
        ("nobody", "wrong password"),
        (active.username, "wrong password"),
        (locked.username, "wrong password"),
        (locked.username, PASSWORD),
        (inactive.username, "wrong password"),
        (inactive.username, PASSWORD),
        (active.email, "x" * 1024),
    ]
    works = []
    with observed(app, monkeypatch) as done:
        for name, password in attempts:
            before = attempts_counted(app)
            done()
            log_in(anonymous, name, password, expect=401)
            works.append(done())
            # Each attempt writes one row: that is what takes the database time.
            assert attempts_counted(app) == before + 1
    assert works[0].sent.count("COMMIT") == 2
    for work in works:
        assert work.sent == works[0].sent
        assert [hashed[:7] for hashed in work.hashes] == [b"$2b$04$"]


def attempts_counted(app: Flask) -> int:
    """The attempts counted on accounts and on dummy counters."""
    with app.app_context(), reading():
        models = (User, DummyLoginCounter)
        sums = [sa.select(sa.func.coalesce(sa.func.sum(model.failed_login_attempts), 0)) for model in models]
        return sum(db.session.scalar(statement) or 0 for statement in sums)


def test_malformed_credentials_are_invalid(anonymous: Client) -> None:
    for body in ({}, {"username": "x"}, {"username": "", "password": ""}, {"username": 1, "password": 2}):
        assert anonymous.call("POST", LOGIN, json=body, expect=422)["data"]["errors"]
    for body in ({"username": "x" * 256, "password": "x"}, {"username": "x", "password": "x" * 1025}):
        assert anonymous.call("POST", LOGIN, json=body, expect=422)["data"]["errors"]
    unknown = {"username": "x", "password": "x", "role": "admin"}
    assert list(anonymous.call("POST", LOGIN, json=unknown, expect=422)["data"]["errors"]) == ["role"]


def fail(client: Client, user: User, times: int) -> None:
    for _ in range(times):
        log_in(client, user.username, "wrong password", expect=401)


def test_five_failures_in_a_row_lock_the_account(app: Flask, anonymous: Client, make: Make) -> None:
    user = make(User)
    fail(anonymous, user, MAX_FAILURES - 1)
    log_in(anonymous, user.username)
    fail(anonymous, user, MAX_FAILURES)
    log_in(anonymous, user.username, expect=401)
    locked = stored(app, user)
    assert locked.failed_login_attempts == MAX_FAILURES == 5
    assert locked.locked_until is not None
    assert timedelta() < locked.locked_until - utcnow() <= LOCK_DURATION == timedelta(minutes=15)
    assert locked.version == 1


def test_attempts_during_a_lock_do_not_prolong_it(app: Flask, anonymous: Client, make: Make) -> None:
    user = make(User)
    fail(anonymous, user, MAX_FAILURES)
    until = stored(app, user).locked_until
    fail(anonymous, user, 3)
    assert stored(app, user).locked_until == until


def test_lock_expires(app: Flask, anonymous: Client, make: Make) -> None:
    user = make(User)
    fail(anonymous, user, MAX_FAILURES)
    set_user(app, user, locked_until=utcnow() - timedelta(seconds=1))
    # The failures that led to the lock no longer count: another five are needed.
    fail(anonymous, user, MAX_FAILURES - 1)
    log_in(anonymous, user.username)
    cleared = stored(app, user)
    assert (cleared.failed_login_attempts, cleared.locked_until) == (0, None)


def test_lock_affects_one_account_only(anonymous: Client, make: Make) -> None:
    locked, other = make(User), make(User)
    fail(anonymous, locked, MAX_FAILURES)
    log_in(anonymous, other.username)


@any_database
@pytest.mark.race
def test_fifty_concurrent_wrong_passwords_compute_five_real_hashes(
    app: Flask, anonymous: Client, admin: Client, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts are counted before the password is checked; those beyond the fifth compare a dummy hash."""
    user = make(User)
    with observed(app, monkeypatch) as done:
        run_concurrently([partial(fail, anonymous, user, 1)] * 50)
        hashes = done().hashes
    assert (len(hashes), [hashed.decode() for hashed in hashes].count(user.password_hash)) == (50, MAX_FAILURES)
    assert stored(app, user).failed_login_attempts == MAX_FAILURES
    actions = [record["action"] for record in records(admin, user)]
    assert (actions.count("login_failed"), actions.count("lockout")) == (50, 1)


def records(admin: Client, user: User) -> list[Body]:
    query = {
        "resource_type": "users",
        "resource_id": user.id,
        "version__isnull": "true",
        "sort": "id",
        "page_size": 100,
    }
    records: list[Body] = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    return records


def test_logins_are_audited(anonymous: Client, admin: Client, make: Make) -> None:
    user = make(User)
    fail(anonymous, user, MAX_FAILURES)
    failures = records(admin, user)
    assert [record["action"] for record in failures] == ["login_failed"] * MAX_FAILURES + ["lockout"]
    # Attributed to the account, so that its user sees the attempts.
    assert {(record["user_id"], record["username"]) for record in failures} == {(user.id, user.username)}
    other = make(User)
    log_in(anonymous, other.username)
    (record,) = records(admin, other)
    assert (record["action"], record["user_id"], record["username"]) == ("login", other.id, other.username)
    assert record["ip_address"] == "127.0.0.1"


def test_failed_logins_with_unknown_names_are_audited(anonymous: Client, admin: Client) -> None:
    for name in ("nobody", "no\x00body", "x" * 255):
        log_in(anonymous, name, "wrong password", expect=401)
        query = {"action": "login_failed", "sort": "-id", "page_size": 1}
        (record,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
        assert record["resource_name"] == name.replace("\x00", "")
        assert record["resource_id"] is None
