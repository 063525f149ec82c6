"""Who somebody is and who holds what: changes of it in the database are found, and ordinary use is intact."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import bcrypt
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.audit.declaration import Audited, WithMac
from app.core.db.models import Base
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.gpus.models import Gpu
from app.proof.report import FindingKind, Report, Status
from app.proof.verification import verify
from app.servers.models import Server
from app.users.models import User
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.proof.administrator import as_administrator, picked
from tests.spread import spread

NEW_PASSWORD = "another long password 4711"


class People(NamedTuple):
    """Users with tokens, sessions, GPUs that they hold and held, and an account that is locked."""

    admin: Client
    user: Client
    locked: User


@pytest.fixture
def people(app: Flask, make: Make, admin: Client, user: Client, sign_in: SignIn, anonymous: Client) -> People:
    assert user.user is not None
    for number in range(3):
        body = {"name": f"token {number}", "scopes": ["read"], "networks": ["10.0.0.0/8"]}
        token = user.call("POST", "/api/auth/tokens", expect=201, json=body)["data"]
    user.call("DELETE", f"/api/auth/tokens/{token['id']}")
    gpus = [make(Gpu) for _ in range(3)]
    tomorrow = (utcnow() + timedelta(days=1)).isoformat()
    for gpu in gpus:
        body = {"user_id": user.user.id, "purpose": "training", "expires_at": tomorrow}
        admin.call("POST", f"/api/gpus/{gpu.id}/assign", json=body)
    user.call("POST", f"/api/gpus/{gpus[0].id}/release")
    user.call("POST", f"/api/gpus/{gpus[0].id}/assign", json={"user_id": user.user.id})
    for client in (admin, user):
        credentials = {"username": client.user.username, "password": PASSWORD}
        anonymous.call("POST", "/api/auth/login", json=credentials)
    leaving = sign_in()
    leaving.call("POST", "/api/auth/logout")
    admin.call("POST", f"/api/users/{user.user.id}/reset-password", expect=202)
    locked = make(User)
    for _ in range(5):
        credentials = {"username": locked.username, "password": "a wrong password"}
        anonymous.call("POST", "/api/auth/login", expect=401, json=credentials)
    return People(admin, user, locked)


def verified(app: Flask) -> Report:
    with app.app_context():
        return verify()


def is_intact(app: Flask) -> bool:
    report = verified(app)
    assert report.status is Status.INTACT, list(report.lines())
    return True


def test_ordinary_use_is_intact(app: Flask, people: People, sign_in: SignIn, make: Make, anonymous: Client) -> None:
    assert is_intact(app)
    admin, user = people.admin, people.user
    assert user.user is not None
    # A login at the right password and after an unlock.
    admin.call("POST", f"/api/users/{people.locked.id}/unlock")
    anonymous.call("POST", "/api/auth/login", json={"username": people.locked.username, "password": PASSWORD})
    assert is_intact(app)
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    user.call("POST", "/api/auth/change-password", json=change)
    assert is_intact(app)
    # A GPU that is deleted and restored goes on with its holder.
    path = f"/api/gpus?assigned_to_id={user.user.id}&sort=id"
    first, second, *_ = user.call("GET", path)["data"]
    admin.call("DELETE", f"/api/gpus/{first['id']}")
    assert is_intact(app)
    (record,) = admin.call("GET", "/api/audit-logs?action=delete&resource_type=gpus")["data"]
    admin.call("POST", f"/api/audit-logs/{record['id']}/restore")
    assert is_intact(app)
    for gpu in (first, second):
        admin.call("POST", f"/api/gpus/{gpu['id']}/release")
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"username": "renamed"})
    assert is_intact(app)
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"is_active": False})
    assert is_intact(app)


def test_a_deleted_user_s_tokens_and_assignments(app: Flask, people: People) -> None:
    user = people.user.user
    assert user is not None
    for gpu in people.admin.call("GET", f"/api/gpus?assigned_to_id={user.id}")["data"]:
        people.admin.call("POST", f"/api/gpus/{gpu['id']}/release")
    people.admin.call("DELETE", f"/api/users/{user.id}")
    assert is_intact(app)
    (record,) = people.admin.call("GET", "/api/audit-logs?resource_type=users&action=delete")["data"]
    people.admin.call("POST", f"/api/audit-logs/{record['id']}/restore")
    assert is_intact(app)


SQL = Callable[..., Any]
CHANGED, MISSING, INSERTED = FindingKind.ROW_CHANGED, FindingKind.ROW_MISSING, FindingKind.ROW_INSERTED
HASH = bcrypt.hashpw(b"known to the attacker", bcrypt.gensalt(4)).decode()
LOCKED = picked("SELECT max(id) FROM users WHERE locked_until IS NOT NULL")
TOKEN = picked("SELECT min(id) FROM personal_tokens")
REVOKED = picked("SELECT max(id) FROM personal_tokens")
COPIED_TOKEN = (
    "INSERT INTO personal_tokens (user_id, name, token_hash, hint, scopes, networks, created_at) "
    f"SELECT user_id, name, 'forged', hint, scopes, networks, created_at FROM personal_tokens WHERE id = {TOKEN}"
)
COPIED_SESSION = (
    "INSERT INTO auth_sessions (id, user_id, password_version, generation, contenders, created_at, last_used_at, "
    "expires_at, mac) SELECT 'forged', user_id, password_version, generation, contenders, created_at, last_used_at, "
    "expires_at, mac FROM auth_sessions LIMIT 1"
)
COPIED_RESET = (
    "INSERT INTO password_resets (user_id, token_hash, password_version, created_at, expires_at, mac) "
    "SELECT user_id, 'forged', password_version, created_at, expires_at, mac FROM password_resets LIMIT 1"
)
COPIED_ASSIGNMENT = (
    "INSERT INTO gpu_assignments (gpu_id, user_id, username, assigned_by, assigned_at, released_at, released_by) "
    "SELECT gpu_id, user_id, username, assigned_by, '2026-01-01 00:00:00.000000', released_at, released_by "
    "FROM gpu_assignments WHERE released_at IS NOT NULL"
)
PASSWORD_OF_SOMEBODY = picked("SELECT password_hash FROM users WHERE role = 'user'")
PASSWORD_OF_A_USER = f"UPDATE users SET password_hash = {PASSWORD_OF_SOMEBODY} WHERE role = 'admin'"
MAC_OF_ANOTHER_SESSION = (
    f"UPDATE auth_sessions SET mac = {picked('SELECT mac FROM auth_sessions ORDER BY id DESC')} "
    f"WHERE id = {picked('SELECT min(id) FROM auth_sessions')}"
)
ADDRESS_OF_ANOTHER_USER = (
    "UPDATE known_addresses SET network = '198.51.100.9', user_id = (SELECT max(id) FROM users) "
    f"WHERE user_id = {picked('SELECT min(user_id) FROM known_addresses')}"
)
ASSIGNMENT_OF_ANOTHER_GPU = (
    "UPDATE gpu_assignments SET gpu_id = (SELECT max(id) FROM gpus) "
    "WHERE gpu_id = (SELECT min(id) FROM gpus) AND released_at IS NOT NULL"
)
FIRST_ASSIGNMENT = picked("SELECT min(id) FROM gpu_assignments")

ATTACKS: dict[str, tuple[str, FindingKind, str]] = {
    "password_of_an_administrator": ("UPDATE users SET password_hash = :hash WHERE role = 'admin'", CHANGED, "users"),
    "password_version": ("UPDATE users SET password_version = password_version + 1", CHANGED, "users"),
    "password_of_somebody_else": (
        PASSWORD_OF_A_USER,
        CHANGED,
        "users",
    ),
    "role": ("UPDATE users SET role = 'admin' WHERE role = 'user'", CHANGED, "users"),
    "is_active": (f"UPDATE users SET is_active = NOT is_active WHERE id = {LOCKED}", CHANGED, "users"),
    "email": ("UPDATE users SET email = 'attacker@example.com' WHERE role = 'admin'", CHANGED, "users"),
    "created_at": ("UPDATE users SET created_at = '2020-01-01 00:00:00.000000'", CHANGED, "users"),
    "created_at_of_another_resource": (
        "UPDATE gpus SET created_at = '2020-01-01 00:00:00.000000'",
        CHANGED,
        "gpus",
    ),
    "holder_of_a_gpu": ("UPDATE gpus SET assigned_to_id = (SELECT max(id) FROM users)", CHANGED, "gpus"),
    "creator_of_a_gpu": ("UPDATE gpus SET created_by_id = (SELECT max(id) FROM users)", CHANGED, "gpus"),
    "purpose_of_a_gpu": ("UPDATE gpus SET purpose = 'mining'", CHANGED, "gpus"),
    "lock_ended": (f"UPDATE users SET locked_until = NULL WHERE id = {LOCKED}", CHANGED, "users"),
    "lock_shortened": ("UPDATE users SET locked_until = :past WHERE locked_until IS NOT NULL", CHANGED, "users"),
    "lock_invented": ("UPDATE users SET locked_until = :future WHERE role = 'admin'", CHANGED, "users"),
    "token_hash": (f"UPDATE personal_tokens SET token_hash = 'x' WHERE id = {TOKEN}", CHANGED, "personal_tokens"),
    "token_scopes": (
        f'UPDATE personal_tokens SET scopes = \'["read", "write"]\' WHERE id = {TOKEN}',
        CHANGED,
        "personal_tokens",
    ),
    "token_networks": (f"UPDATE personal_tokens SET networks = '[]' WHERE id = {TOKEN}", CHANGED, "personal_tokens"),
    "token_expiry": ("UPDATE personal_tokens SET expires_at = :future", CHANGED, "personal_tokens"),
    "token_user": (
        f"UPDATE personal_tokens SET user_id = (SELECT min(id) FROM users) WHERE id = {TOKEN}",
        CHANGED,
        "personal_tokens",
    ),
    "token_revived": (f"UPDATE personal_tokens SET revoked_at = NULL WHERE id = {REVOKED}", CHANGED, "personal_tokens"),
    "token_created_earlier": (
        f"UPDATE personal_tokens SET created_at = '2020-01-01 00:00:00.000000' WHERE id = {TOKEN}",
        CHANGED,
        "personal_tokens",
    ),
    "token_inserted": (COPIED_TOKEN, INSERTED, "personal_tokens"),
    "token_deleted": (f"DELETE FROM personal_tokens WHERE id = {TOKEN}", MISSING, "personal_tokens"),
    "session_revived": ("UPDATE auth_sessions SET ended_at = NULL", CHANGED, "auth_sessions"),
    "session_of_another_user": (
        "UPDATE auth_sessions SET user_id = (SELECT min(id) FROM users)",
        CHANGED,
        "auth_sessions",
    ),
    "session_under_another_password": (
        "UPDATE auth_sessions SET password_version = password_version + 1",
        CHANGED,
        "auth_sessions",
    ),
    "session_ended": ("UPDATE auth_sessions SET ended_at = created_at", CHANGED, "auth_sessions"),
    "session_begun_earlier": (
        "UPDATE auth_sessions SET created_at = '2020-01-01 00:00:00.000000'",
        CHANGED,
        "auth_sessions",
    ),
    "session_on_another_device": ("UPDATE auth_sessions SET user_agent = 'curl'", CHANGED, "auth_sessions"),
    "session_with_the_mac_of_another": (
        MAC_OF_ANOTHER_SESSION,
        CHANGED,
        "auth_sessions",
    ),
    "session_inserted": (COPIED_SESSION, CHANGED, "auth_sessions"),
    "reset_link_inserted": (COPIED_RESET, CHANGED, "password_resets"),
    "reset_link_of_another_user": (
        "UPDATE password_resets SET user_id = (SELECT min(id) FROM users)",
        CHANGED,
        "password_resets",
    ),
    "reset_link_under_another_token": ("UPDATE password_resets SET token_hash = 'x'", CHANGED, "password_resets"),
    "reset_link_prolonged": ("UPDATE password_resets SET expires_at = :future", CHANGED, "password_resets"),
    "known_address": ("UPDATE known_addresses SET network = '198.51.100.7'", CHANGED, "known_addresses"),
    "known_address_of_another_user": (
        ADDRESS_OF_ANOTHER_USER,
        CHANGED,
        "known_addresses",
    ),
    "assignment_of_another_gpu": (
        ASSIGNMENT_OF_ANOTHER_GPU,
        MISSING,
        "gpu_assignments",
    ),
    "assignment_user": (
        "UPDATE gpu_assignments SET user_id = (SELECT min(id) FROM users)",
        CHANGED,
        "gpu_assignments",
    ),
    "assignment_without_user": ("UPDATE gpu_assignments SET user_id = NULL", CHANGED, "gpu_assignments"),
    "assignment_username": ("UPDATE gpu_assignments SET username = 'somebody'", CHANGED, "gpu_assignments"),
    "assignment_assigned_by": ("UPDATE gpu_assignments SET assigned_by = 'somebody'", CHANGED, "gpu_assignments"),
    "assignment_purpose": ("UPDATE gpu_assignments SET purpose = 'mining'", CHANGED, "gpu_assignments"),
    "assignment_expiry": ("UPDATE gpu_assignments SET expires_at = NULL", CHANGED, "gpu_assignments"),
    "assignment_time": (
        f"UPDATE gpu_assignments SET assigned_at = '2026-01-01 00:00:00.000000' WHERE id = {FIRST_ASSIGNMENT}",
        INSERTED,
        "gpu_assignments",
    ),
    "assignment_released_by": (
        "UPDATE gpu_assignments SET released_by = 'somebody' WHERE released_at IS NOT NULL",
        CHANGED,
        "gpu_assignments",
    ),
    "assignment_ended": (
        "UPDATE gpu_assignments SET released_at = assigned_at, released_by = 'x' WHERE released_at IS NULL",
        CHANGED,
        "gpu_assignments",
    ),
    "assignment_end_moved": (
        "UPDATE gpu_assignments SET released_at = :future WHERE released_at IS NOT NULL",
        CHANGED,
        "gpu_assignments",
    ),
    "assignment_inserted": (COPIED_ASSIGNMENT, INSERTED, "gpu_assignments"),
    "assignment_deleted": (
        f"DELETE FROM gpu_assignments WHERE id = {FIRST_ASSIGNMENT}",
        MISSING,
        "gpu_assignments",
    ),
    "assignments_deleted": ("DELETE FROM gpu_assignments", MISSING, "gpu_assignments"),
}


@pytest.fixture
def attacked(app: Flask, people: People) -> Callable[[str], None]:
    """Execute a statement with all rights in the database, where no trigger fires."""

    def attack(statement: str) -> None:
        now = utcnow()
        values = {"hash": HASH, "past": now - timedelta(hours=1), "future": now + timedelta(days=3)}
        prepared = sa.text(statement)
        typed = [sa.bindparam(name, type_=User.__table__.c.locked_until.type) for name in ("past", "future")]
        used = [parameter for parameter in typed if f":{parameter.key}" in statement]
        given = {name: value for name, value in values.items() if f":{name}" in statement}
        with as_administrator(app) as connection:
            assert connection.execute(prepared.bindparams(*used), given).rowcount

    return attack


@spread
@pytest.mark.parametrize("name", ATTACKS)
def test_a_change_in_the_database_is_found(app: Flask, attacked: Callable[[str], None], name: str) -> None:
    statement, kind, table = ATTACKS[name]
    attacked(statement)
    report = verified(app)
    assert report.status is Status.TAMPERED
    kinds_and_tables = {(finding.kind, finding.resource_type) for finding in report.findings}
    assert (kind, table) in kinds_and_tables, list(report.lines())
    assert {where for _, where in kinds_and_tables} == {table}, list(report.lines())


def test_an_earlier_password_is_found(app: Flask, people: People, make: Make) -> None:
    """With everything that the row said before: its MAC is in the log, bound to a version."""
    user = people.user.user
    assert user is not None
    columns = "password_hash, password_version"
    with app.app_context():
        before = db.session.execute(sa.text(f"SELECT {columns} FROM users WHERE id = {user.id}")).one()
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    people.user.call("POST", "/api/auth/change-password", json=change)
    with as_administrator(app) as connection:
        statement = f"UPDATE users SET password_hash = :hash, password_version = :version WHERE id = {user.id}"
        connection.execute(sa.text(statement), {"hash": before[0], "version": before[1]})
    report = verified(app)
    assert [(finding.resource_type, finding.resource_id) for finding in report.findings] == [("users", user.id)]


def test_rows_of_a_key_before_are_verified(app: Flask, people: People, build_app: Any) -> None:
    new = "another key of the audit log, 32 bytes"
    later = build_app(AUDIT_KEY=new, AUDIT_KEYS_BEFORE=(app.config["SECRET_KEY"],))
    assert is_intact(later)
    assert verified(build_app(AUDIT_KEY=new)).status is Status.UNDECIDED


def test_a_server_s_creation_time_is_that_of_its_record(app: Flask, make: Make, admin: Client) -> None:
    """Also after it was deleted and restored."""
    server = make(Server)
    admin.call("DELETE", f"/api/servers/{server.id}")
    (record,) = admin.call("GET", "/api/audit-logs?action=delete&resource_type=servers")["data"]
    admin.call("POST", f"/api/audit-logs/{record['id']}/restore")
    assert is_intact(app)


def test_a_token_that_was_inserted_used_and_removed_is_found(app: Flask, people: People, document: Any) -> None:
    user = people.user.user
    assert user is not None
    body = {"name": "for its hash", "scopes": ["write"]}
    token = people.user.call("POST", "/api/auth/tokens", expect=201, json=body)["data"]
    forged_id = token["id"] + 1
    row = "user_id, name, hint, scopes, networks, created_at"
    with as_administrator(app) as connection:
        connection.execute(sa.text(f"UPDATE personal_tokens SET token_hash = 'moved' WHERE id = {token['id']}"))
        hashed = hashlib.sha256(token["token"].encode()).hexdigest()
        connection.execute(
            sa.text(
                f"INSERT INTO personal_tokens (id, token_hash, {row}) SELECT {forged_id}, :hash, {row} "
                f"FROM personal_tokens WHERE id = {token['id']}"
            ),
            {"hash": hashed},
        )
    Client(app, document, token["token"]).call("POST", "/api/servers", expect=201, json={"name": "forged"})
    with as_administrator(app) as connection:
        connection.execute(sa.text(f"DELETE FROM personal_tokens WHERE id = {forged_id}"))
        statement = f"UPDATE personal_tokens SET token_hash = :hash WHERE id = {token['id']}"
        connection.execute(sa.text(statement), {"hash": hashed})
    report = verified(app)
    assert [(finding.kind, finding.resource_type) for finding in report.findings] == [(INSERTED, "personal_tokens")]
    assert f"token-{forged_id}" in report.findings[0].message


OF_THE_LOG = {"audit_logs", "audit_leaves", "audit_checkpoints", "audit_event_chains", "audit_origin"}
COMPARED = {"personal_tokens", "gpu_assignments"}
UNVERIFIED = {
    "service_checks": "results and times of health checks",
    "service_schedules": "results and times of health checks",
    "jobs": "jobs",
    "outbox": "mail",
    "idempotency_keys": "stored answers of `Idempotency-Key`",
    "imports": "imports with their files, plans and reports",
    "import_files": "imports with their files, plans and reports",
    "import_parts": "imports with their files, plans and reports",
    "import_reports": "imports with their files, plans and reports",
    "import_mappings": "saved mappings and views",
    "saved_views": "saved mappings and views",
    "asset_images": "images",
    "search_entries": "the copies of texts that are searched",
    "object_counts": "the numbers of objects that dashboards and facets show",
    "container_ports": "the copies of host ports that keep them unique",
    "used_downloads": "used download links",
    "dummy_login_counters": "the number of failed logins",
    "audit_refusals": "repeated refusals that are still being counted",
}
"""Tables that no verification reads, and where the document says so."""


def test_each_table_is_verified_or_named_as_not_covered() -> None:
    verified = {
        mapper.local_table.name  # type: ignore[attr-defined]
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, Audited | WithMac)
    }
    classified = verified | OF_THE_LOG | COMPARED | UNVERIFIED.keys()
    assert {table.name for table in Base.metadata.sorted_tables} == classified
    text = (config.ROOT / "docs" / "administrators.md").read_text()
    _, _, section = text.partition("### What a verification covers")
    assert {words for words in UNVERIFIED.values() if words not in section} == set()
