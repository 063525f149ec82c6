"""Everything that compares a password counts, locks and records like a login; right passwords are never too many."""

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.auth import lockout
from app.auth.lockout import CHECK_TIMEOUT, DUMMY_COUNTERS, MAX_FAILURES
from app.auth.models import DummyLoginCounter
from app.core.db.unit_of_work import db
from app.core.mail.outbox import Outbox, decrypt
from app.core.values import utcnow
from app.users import passwords
from app.users.models import User
from tests.backends import Backend
from tests.client import PASSWORD, Body, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.server import encode_request, send_simultaneously, served
from tests.spread import any_database
from tests.threads import run_concurrently

LOGIN, ME, CHANGE_PASSWORD = "/api/auth/login", "/api/auth/me", "/api/auth/change-password"
NEW_PASSWORD = "another canary of a password"

CHECKS = {
    "password": ("POST", CHANGE_PASSWORD, {"new_password": NEW_PASSWORD}),
    "email": ("PATCH", ME, {"email": "elsewhere@example.com"}),
}
"""The requests of a signed-in user that compare their password."""


def check(client: Client, kind: str, password: str, expect: int) -> Body:
    method, path, body = CHECKS[kind]
    return client.call(method, path, json={**body, "current_password": password}, expect=expect)


def log_in(client: Client, user: User, password: str = PASSWORD, expect: int | tuple[int, ...] = 200) -> Body:
    return client.call("POST", LOGIN, json={"username": user.username, "password": password}, expect=expect)


def set_users(app: Flask, **values: Any) -> None:
    """Change columns that are not part of the audited object."""
    with app.app_context():
        db.session.execute(sa.update(User.__table__).values(**values))
        db.session.commit()


def stored(app: Flask, user: User) -> User:
    with app.app_context():
        return db.session.get_one(User, user.id)


def mails(app: Flask) -> list[tuple[str, str, str]]:
    """(recipient, subject, text) of each mail, in order."""
    with app.app_context():
        rows = db.session.execute(sa.select(Outbox.__table__).order_by(Outbox.id)).all()
        return [(row.recipient, row.subject, decrypt(row.content)["txt"]) for row in rows]


@pytest.mark.parametrize("kind", CHECKS)
def test_wrong_passwords_lock_the_account_and_are_recorded(
    app: Flask, admin: Client, user: Client, anonymous: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hashes: list[bytes] = []
    compare = passwords.bcrypt.checkpw

    def note(password: bytes, hashed: bytes) -> bool:
        hashes.append(hashed)
        return compare(password, hashed)

    with monkeypatch.context() as patched:
        patched.setattr(passwords.bcrypt, "checkpw", note)
        answers = [check(user, kind, "wrong password", 422) for _ in range(MAX_FAILURES + 2)]
        # The lock is not told: also the right password is wrong now.
        answers.append(check(user, kind, PASSWORD, 422))
    assert {str(answer["data"]) for answer in answers} == {str(answers[0]["data"])}
    assert list(answers[0]["data"]["errors"]) == ["current_password"]
    assert [hashed.decode() for hashed in hashes].count(user.user.password_hash or "") == MAX_FAILURES
    log_in(anonymous, user.user, expect=401)
    query = {"resource_type": "users", "resource_id": user.user.id, "version__isnull": "true", "page_size": 100}
    actions = [record["action"] for record in admin.call("GET", "/api/audit-logs", query_string=query)["data"]]
    assert (actions.count("login_failed"), actions.count("lockout")) == (len(answers) + 1, 1)
    ((recipient, subject, text),) = mails(app)
    assert (recipient, subject) == (user.user.email, "Your account is locked")
    assert "5 wrong passwords" in text
    assert stored(app, user.user).version == 1


@pytest.mark.parametrize("kind", CHECKS)
def test_a_right_password_resets_the_failures(app: Flask, user: Client, kind: str) -> None:
    for _ in range(MAX_FAILURES - 1):
        check(user, kind, "wrong password", 422)
    assert stored(app, user.user).failed_login_attempts == MAX_FAILURES - 1
    check(user, kind, PASSWORD, 200)
    after = stored(app, user.user)
    assert (after.failed_login_attempts, after.checks_in_progress, after.locked_until) == (0, 0, None)


def test_the_same_password_is_refused(app: Flask, user: Client) -> None:
    same = {"current_password": PASSWORD, "new_password": PASSWORD}
    answer = user.call("POST", CHANGE_PASSWORD, json=same, expect=422)
    assert answer["data"]["errors"] == {"new_password": ["Must differ from your current password."]}
    assert (stored(app, user.user).failed_login_attempts, stored(app, user.user).checks_in_progress) == (0, 0)


def test_another_email_needs_the_password(app: Flask, user: Client) -> None:
    other = {"email": "elsewhere@example.com"}
    answer = user.call("PATCH", ME, json=other, expect=422)
    assert list(answer["data"]["errors"]) == ["current_password"]
    # A form sends what it has read.
    user.call("PATCH", ME, json={"email": user.user.email, "full_name": "Ada"})
    assert mails(app) == []
    user.call("PATCH", ME, json={**other, "current_password": PASSWORD})
    ((recipient, subject, text),) = mails(app)
    assert (recipient, subject) == (user.user.email, "Your e-mail address was changed")
    assert "elsewhere@example.com" in text
    assert "127.0.0.1" in text


def test_changed_passwords_are_mailed(app: Flask, admin: Client, sign_in: SignIn) -> None:
    one, two = sign_in(), sign_in()
    check(one, "password", PASSWORD, 200)
    admin.call("PATCH", f"/api/users/{two.user.id}", json={"password": NEW_PASSWORD})
    items = [{"id": two.user.id, "password": "a third long password", "email": "new@example.com"}]
    admin.call("PATCH", "/api/users/bulk", json={"mode": "atomic", "items": items})
    sent = mails(app)
    changed = "Your password was changed"
    assert [mail[:2] for mail in sent] == [
        (one.user.email, changed),
        (two.user.email, changed),
        (two.user.email, "Your e-mail address was changed"),
        (two.user.email, changed),
    ]
    assert "you" in sent[0][2].partition("By:")[2].splitlines()[0]
    for _, _, text in sent[1:]:
        assert admin.user.username in text
    admin.call("PATCH", f"/api/users/{one.user.id}", json={"password": PASSWORD}, query_string={"dry_run": "true"})
    assert len(mails(app)) == 4


@pytest.mark.race
@pytest.mark.parametrize("number", [6, 12, 24])
def test_simultaneous_right_logins_all_succeed(app: Flask, anonymous: Client, make: Make, number: int) -> None:
    user = make(User)
    run_concurrently([partial(log_in, anonymous, user)] * number)
    after = stored(app, user)
    assert (after.failed_login_attempts, after.checks_in_progress, after.locked_until) == (0, 0, None)


@pytest.mark.race
def test_right_logins_beside_wrong_ones_succeed(app: Flask, anonymous: Client, make: Make) -> None:
    user = make(User)
    wrong = [partial(log_in, anonymous, user, "wrong password", 401)] * (MAX_FAILURES - 1)
    run_concurrently([*wrong, *[partial(log_in, anonymous, user)] * 8])
    assert stored(app, user).checks_in_progress == 0


@any_database
def test_twelve_right_logins_in_two_processes_succeed(app: Flask, backend: Backend, make: Make) -> None:
    """Two processes that share only the database."""
    user = make(User)
    body = {"username": user.username, "password": PASSWORD}
    request = encode_request("POST", LOGIN, body=body)
    wrong = encode_request("POST", LOGIN, body={**body, "password": "wrong password"})
    with ExitStack() as stack:
        servers = [stack.enter_context(served(backend.settings(), REDIS_URL="")) for _ in range(2)]
        responses = send_simultaneously([(server, request) for server in servers * 6])
        assert [response.status for response in responses] == [200] * 12
        responses = send_simultaneously([(server, wrong) for server in servers * 6])
        assert [response.status for response in responses] == [401] * 12
    after = stored(app, user)
    assert (after.failed_login_attempts, after.checks_in_progress) == (MAX_FAILURES, 0)
    assert after.locked_until is not None


def test_checks_of_a_process_that_died_do_not_lock(app: Flask, anonymous: Client, make: Make) -> None:
    user = make(User)
    set_users(app, checks_in_progress=MAX_FAILURES, last_check_at=utcnow() - CHECK_TIMEOUT - timedelta(seconds=1))
    log_in(anonymous, user)
    # What they found is unknown: another wrong one locks.
    set_users(app, checks_in_progress=MAX_FAILURES, last_check_at=utcnow() - CHECK_TIMEOUT - timedelta(seconds=1))
    log_in(anonymous, user, "wrong password", 401)
    log_in(anonymous, user, expect=401)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_check_that_waits_too_long_is_refused(
    app: Flask, anonymous: Client, make: Make, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """The same for an account and for an unknown name."""
    user = make(User, username="somebody")
    busy = {"checks_in_progress": MAX_FAILURES, "last_check_at": utcnow()}
    set_users(app, **busy)
    with app.app_context():
        counters = [DummyLoginCounter(id=n, failed_login_attempts=0, **busy) for n in range(DUMMY_COUNTERS)]
        db.session.add_all(counters)
        db.session.commit()
    monkeypatch.setattr(lockout, "MAX_WAIT_SECONDS", 0.0)
    body = {"username": user.username if is_known else "nobody", "password": PASSWORD}
    answer = anonymous.call("POST", LOGIN, json=body, expect=429)
    assert answer == {
        "code": 429,
        "message": "Too many sign-ins with this name at once.",
        "data": {"reason": "too_many_requests"},
    }
