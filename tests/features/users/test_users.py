"""User accounts: the last administrator, one's own rights, passwords, and unique names."""

from functools import partial
from typing import Any

import bcrypt
import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.users.models import LastAdmin, User
from tests.client import PASSWORD, Body, Client
from tests.conftest import BuildApp, SignIn
from tests.contract.test_bodies import send_back
from tests.factories import Make
from tests.openapi import Document
from tests.threads import run_concurrently

YOURSELF = [("PATCH", {"role": "user"}), ("PATCH", {"is_active": False}), ("PUT", {"role": "user"}), ("DELETE", None)]


def call(client: Client, method: str, user: User, body: Body | None, expect: int | tuple[int, ...]) -> Body:
    options = {} if body is None else {"json": body}
    return client.call(method, f"/api/users/{user.id}", expect=expect, **options)


@pytest.mark.parametrize(("method", "body"), YOURSELF)
def test_admins_cannot_demote_deactivate_or_delete_themselves(
    admin: Client, make: Make, method: str, body: Body | None
) -> None:
    make(User, role=Role.ADMIN)
    assert call(admin, method, admin.user, body, expect=403)["data"]["reason"] == "yourself"
    assert admin.call("GET", "/api/auth/me")["data"]["version"] == 1
    query = {"action": "denied", "resource_id": admin.user.id}
    assert admin.call("GET", "/api/audit-logs", query_string=query)["pagination"]["total"] == 1


@pytest.mark.parametrize("body", [{"role": "user"}, {"is_active": False}, None])
def test_nor_can_they_among_several_or_by_an_action(admin: Client, make: Make, body: Body | None) -> None:
    make(User, role=Role.ADMIN)
    method, change = ("DELETE", {}) if body is None else ("PATCH", {"set": body})
    items = [admin.user.id] if body is None else [{"id": admin.user.id, **body}]
    refused = admin.call(method, "/api/users/bulk", json={"mode": "partial", "items": items})["data"]["results"]
    matched = {"filter": {"id": admin.user.id}, "expected_count": 1, **change}
    refused += admin.call(method, "/api/users/bulk", json=matched, expect=403)["data"]["results"]
    assert [each["error"]["data"]["reason"] for each in refused] == ["yourself"] * 2
    deactivation = admin.call("POST", f"/api/users/{admin.user.id}/deactivate", json={}, expect=403)
    assert deactivation["data"]["reason"] == "yourself"
    assert admin.call("GET", "/api/auth/me")["data"]["version"] == 1


@pytest.mark.parametrize(("method", "body"), YOURSELF)
def test_admins_can_demote_deactivate_and_delete_each_other(
    admin: Client, make: Make, method: str, body: Body | None
) -> None:
    call(admin, method, make(User, role=Role.ADMIN), body, expect=200)


def test_admins_may_change_other_fields_of_themselves(admin: Client) -> None:
    same = {"role": "admin", "is_active": True, "full_name": "Ada", "username": "ada"}
    assert call(admin, "PATCH", admin.user, same, expect=200)["data"]["username"] == "ada"


def change(app: Flask, user: User, **values: Any) -> None:
    """Change a user without an actor, as the command line does."""
    with app.app_context():
        target = db.session.get_one(User, user.id)
        for name, value in values.items():
            setattr(target, name, value)
        db.session.commit()


def delete(app: Flask, *users: User) -> None:
    with app.app_context():
        for user in users:
            db.session.delete(db.session.get_one(User, user.id))
        db.session.commit()


def test_last_active_admin_cannot_be_removed(app: Flask, make: Make) -> None:
    last = make(User, role=Role.ADMIN)
    make(User, role=Role.ADMIN, is_active=False)
    make(User)
    for values in ({"role": Role.USER}, {"is_active": False}):
        with pytest.raises(LastAdmin):
            change(app, last, **values)
    with pytest.raises(LastAdmin):
        delete(app, last)
    with app.app_context():
        last_admin = db.session.get_one(User, last.id)
        assert (last_admin.role, last_admin.is_active, last_admin.version) == (Role.ADMIN, True, 1)


def test_last_two_admins_cannot_be_removed_together(app: Flask, make: Make) -> None:
    two = make(User, role=Role.ADMIN), make(User, role=Role.ADMIN)
    with pytest.raises(LastAdmin):
        delete(app, *two)
    delete(app, two[0])


@pytest.mark.race
@pytest.mark.parametrize(("method", "body"), YOURSELF[1:])
def test_last_two_admins_cannot_remove_each_other_concurrently(
    app: Flask, sign_in: SignIn, method: str, body: Body | None
) -> None:
    one, two = sign_in(role=Role.ADMIN), sign_in(role=Role.ADMIN)
    # The second request may also come when its sender has lost the role or the account.
    expect = (200, 401, 403, 409)
    run_concurrently(
        [
            partial(call, one, method, two.user, body, expect=expect),
            partial(call, two, method, one.user, body, expect=expect),
        ]
    )
    with app.app_context():
        admins = sa.select(sa.func.count()).select_from(User).where(User.role == Role.ADMIN, User.is_active)
        assert db.session.scalar(admins) == 1


PASSWORDS = {
    "short": "at least 10",
    "x" * 9: "at least 10",
    "x" * 73: "at most 72",
    "長" * 25: "at most 72",
    "nul\x00 nul nul": "NUL",
    "Ada.Lovelace": "username",
    "ada.lovelace": "username",
}


def test_password_policy(admin: Client, make: Make) -> None:
    user = make(User, username="ada.lovelace")
    fresh = {"username": "ada.LOVELACE", "email": "new@example.com"}
    for password, expected in PASSWORDS.items():
        for method, path, body in (("POST", "/api/users", fresh), ("PATCH", f"/api/users/{user.id}", {})):
            answer = admin.call(method, path, json={**body, "password": password}, expect=422)
            assert list(answer["data"]["errors"]) == ["password"]
            assert expected in " ".join(answer["data"]["errors"]["password"])
    for password in (None, 1, "", []):
        admin.call("PATCH", f"/api/users/{user.id}", json={"password": password}, expect=422)
    for password in (
        "Rz8#qLw2vN",
        "Rz8#qLw2vN" * 7 + "kT",
        "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏",
        "  spaces around  ",
    ):
        admin.call("PATCH", f"/api/users/{user.id}", json={"password": password})
        credentials = {"username": user.username, "password": password}
        Client(admin.app, admin.document).call("POST", "/api/auth/login", json=credentials)


def test_a_bad_password_is_reported_with_other_invalid_fields(admin: Client, make: Make) -> None:
    for password, expected in PASSWORDS.items():
        body = {"username": "ada.LOVELACE", "email": "nonsense", "role": 1, "password": password}
        errors = admin.call("POST", "/api/users", json=body, expect=422)["data"]["errors"]
        assert set(errors) == {"email", "role", "password"}
        assert expected in " ".join(errors["password"])
    body = {"username": "no name", "password": "short"}
    for method, path in (("POST", "/api/users"), ("PATCH", f"/api/users/{make(User).id}")):
        assert {"username", "password"} <= set(admin.call(method, path, json=body, expect=422)["data"]["errors"])


def test_password_is_never_part_of_a_response(admin: Client, user: Client) -> None:
    shown = admin.call("GET", f"/api/users/{user.user.id}")["data"]
    me = user.call("GET", "/api/auth/me")["data"]
    assert not [name for name in {**shown, **me} if "password" in name or "hash" in name]
    for query in (
        "fields=password",
        "fields=password_hash",
        "sort=password_hash",
        "password_hash__startswith=$2b",
        "password_hash__isnull=false",
        "checks_in_progress__gt=0",
    ):
        admin.call("GET", f"/api/users?{query}", expect=400)
    for search in ("$2b$", PASSWORD):
        assert admin.call("GET", "/api/users", query_string={"q": search})["data"] == []


def test_locks_are_shown_to_administrators_alone(
    admin: Client, user: Client, anonymous: Client, build_app: BuildApp, document: Document
) -> None:
    locked, lock = user.user, {"failed_login_attempts", "locked_until"}
    wrong = {"username": locked.username, "password": "wrong"}
    for _ in range(5):
        anonymous.call("POST", "/api/auth/login", json=wrong, expect=401)
    shown = admin.call("GET", f"/api/users/{locked.id}")["data"]
    assert (shown["failed_login_attempts"], shown["locked_until"] > shown["created_at"]) == (5, True)
    for query in ("failed_login_attempts__gte=5", "locked_until__isnull=false", "sort=locked_until&page_size=1"):
        assert admin.call("GET", f"/api/users?{query}")["data"] == [shown], query
    answer = admin.call("PATCH", f"/api/users/{locked.id}", json={"failed_login_attempts": 0}, expect=422)
    assert list(answer["data"]["errors"]) == ["failed_login_attempts"]
    # Neither to the user, nor on the way through what all may read.
    assert lock.isdisjoint(user.call("GET", "/api/auth/me")["data"])
    assert lock.isdisjoint(user.call("PATCH", "/api/auth/me", json={"full_name": "Ada L."})["data"])
    admin.call("POST", f"/api/users/{locked.id}/unlock")
    logged_in = anonymous.call("POST", "/api/auth/login", json={**wrong, "password": PASSWORD})
    assert lock.isdisjoint(logged_in["data"]["user"])
    new = {"username": "new", "email": "new@example.com", "password": "a new long password"}
    registered = Client(build_app(REGISTRATION_ENABLED=True), document).call(
        "POST", "/api/auth/register", json=new, expect=201
    )
    assert lock.isdisjoint(registered["data"])
    for path in ("servers?created_by", "gpus?assigned_to"):
        for name in sorted(lock):
            user.call("GET", f"/api/{path}.{name}__isnull=false", expect=400)


def test_password_is_stored_as_a_hash(app: Flask, admin: Client) -> None:
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    created = admin.call("POST", "/api/users", json=body, expect=201)["data"]
    with app.app_context():
        user = db.session.get_one(User, created["id"])
        assert user.password_hash is not None
        assert user.password_hash.startswith("$2b$04$")
        assert bcrypt.checkpw(PASSWORD.encode(), user.password_hash.encode())
        with pytest.raises(AttributeError):
            _ = user.password


def test_setting_the_same_password_is_a_change(admin: Client, make: Make) -> None:
    """The version must not tell whether the new password equals the old one."""
    user = make(User)
    assert admin.call("PATCH", f"/api/users/{user.id}", json={"password": PASSWORD})["data"]["version"] == 2


def test_email_is_unique_ignoring_case(admin: Client, make: Make) -> None:
    make(User, email="Ada@Example.com")
    body = {"username": "another", "email": "aDA@eXAMPLE.COM", "password": PASSWORD}
    answer = admin.call("POST", "/api/users", json=body, expect=409)
    assert answer["data"]["errors"] == {"email": ["Already taken."]}
    other = make(User)
    answer = admin.call("PATCH", f"/api/users/{other.id}", json={"email": "ADA@EXAMPLE.COM"}, expect=409)
    assert list(answer["data"]["errors"]) == ["email"]


def test_users_cannot_set_the_email_of_another(user: Client, other: Client) -> None:
    body = {"email": other.user.email.upper(), "current_password": PASSWORD}
    assert list(user.call("PATCH", "/api/auth/me", json=body, expect=409)["data"]["errors"]) == ["email"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "with space"),
        ("username", "\uff41dmin"),
        ("username", "\u0430dmin"),
        ("username", "adm\u03b9n"),
        ("username", "adm\u0131n"),
        ("username", "\u1d00dmin"),
        ("username", "\u0251dmin"),
        ("username", "adm\ua4f2n"),
        ("username", "admin\u02bc"),
        ("username", "o\u0669"),
        ("username", "a@b"),
        ("username", "-dash"),
        ("username", "x" * 65),
        ("email", "nobody"),
        ("email", "a@"),
        ("email", "@b"),
        ("email", "a b@c"),
        ("email", "a@b@c"),
        ("role", "root"),
        ("role", "ADMIN"),
    ],
)
def test_invalid_fields_are_refused(admin: Client, make: Make, field: str, value: str) -> None:
    path = f"/api/users/{make(User).id}"
    assert list(admin.call("PATCH", path, json={field: value}, expect=422)["data"]["errors"]) == [field]


def test_username_may_have_letters_of_any_script(admin: Client, make: Make) -> None:
    path = f"/api/users/{make(User).id}"
    for name in (
        "张伟",
        "Иван",
        "Li张",
        "zoë",
        "Müller.M",
        "o_o",
        "x-1",
        "Łukasz",
        "Đức",
        "straße",
        "ひろ-ラーメン",
        "أحمد",
        "ADMİN",
    ):
        assert admin.call("PATCH", path, json={"username": name})["data"]["username"] == name


def test_a_profile_may_be_sent_back_as_it_was_read(user: Client) -> None:
    read = user.call("GET", "/api/auth/me")["data"]
    assert send_back(user, "PATCH", "/api/auth/me", read)["data"] == read
    changed = send_back(user, "PATCH", "/api/auth/me", {**read, "full_name": "Ada"})["data"]
    assert (changed["full_name"], changed["version"]) == ("Ada", read["version"] + 1)
    for name, value in (("role", "admin"), ("username", "other"), ("is_active", False), ("id", 987_654_321)):
        body = {**changed, name: value, "email": "nonsense"}
        errors = user.call("PATCH", "/api/auth/me", json=body, expect=422)["data"]["errors"]
        assert set(errors) == {name, "email"}
    assert user.call("GET", "/api/auth/me")["data"] == changed


def test_a_login_since_the_form_was_read_is_no_error(admin: Client, make: Make) -> None:
    user = make(User)
    path = f"/api/users/{user.id}"
    forms = [admin.call("GET", path)["data"]]
    for _ in range(2):
        credentials = {"username": user.username, "password": PASSWORD}
        Client(admin.app, admin.document).call("POST", "/api/auth/login", json=credentials)
        forms.append(admin.call("GET", path)["data"])
    for form in forms:
        assert send_back(admin, "PATCH", path, form)["data"] == forms[-1]
    later = {**forms[-1], "last_login_at": "2099-01-01T00:00:00Z"}
    errors = admin.call("PATCH", path, json=later, expect=422)["data"]["errors"]
    assert list(errors) == ["last_login_at"]
