"""Download links: one file, once, within a minute, for whom and as long as its path answers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.values import utcnow
from app.downloads import links
from app.downloads.models import UsedDownload
from app.servers.models import Server
from tests.client import Client
from tests.conftest import BuildApp, SignIn
from tests.factories import Make
from tests.features.conftest import Upload
from tests.openapi import Operation
from tests.spread import any_database
from tests.threads import run_concurrently

pytestmark = any_database

EXPORT = "/api/servers/export?format=csv&status=active"


def url_of(client: Client, path: str = EXPORT) -> str:
    url: str = client.call("POST", "/api/downloads", json={"path": path}, expect=201)["data"]["url"]
    return url


def open_url(app: Flask, url: str, method: str = "GET") -> TestResponse:
    """What a browser does: no header says who follows the link."""
    return app.test_client().open(url, method=method, buffered=True)


def test_link_answers_as_its_path(user: Client, make: Make) -> None:
    make(Server, name="a", status="active")
    make(Server, name="b", status="retired")
    answer = user.call("POST", "/api/downloads", json={"path": EXPORT}, expect=201)["data"]
    assert utcnow() < datetime.fromisoformat(answer["expires_at"]) <= utcnow() + timedelta(seconds=60)
    opened, direct = open_url(user.app, answer["url"]), user.send("GET", EXPORT)
    assert (opened.status_code, opened.data) == (200, direct.data)
    assert len(opened.data.splitlines()) == 2
    assert opened.headers["Content-Disposition"] == "attachment; filename=servers.csv"
    assert opened.headers["Referrer-Policy"] == "no-referrer"
    assert opened.headers["Cache-Control"] == "no-store"


def test_path_may_name_the_version(user: Client) -> None:
    assert open_url(user.app, url_of(user, EXPORT.replace("/api/", "/api/v1/"))).status_code == 200


def test_link_works_once_and_head_leaves_it(user: Client) -> None:
    url = url_of(user)
    assert open_url(user.app, url, "HEAD").status_code == 200
    assert open_url(user.app, url).status_code == 200
    again = open_url(user.app, url)
    assert (again.status_code, again.json["data"]["reason"]) == (404, "download_invalid")  # type: ignore[index]


@pytest.mark.race
def test_one_of_many_at_once_gets_the_file(user: Client, build_app: BuildApp) -> None:
    url, workers = url_of(user), [user.app, build_app()]
    calls: list[Callable[[], int]] = [lambda app=app: open_url(app, url).status_code for app in workers * 4]  # type: ignore[misc]
    assert sorted(run_concurrently(calls)) == [200] + [404] * 7


def test_link_ends_after_a_minute(user: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "LIFETIME_SECONDS", 0)
    assert open_url(user.app, url_of(user)).status_code == 404


def test_changed_link_opens_nothing(user: Client) -> None:
    url = url_of(user)
    for changed in (
        url[:30] + ("A" if url[30] != "A" else "B") + url[31:],
        "/api/downloads/x.y",
        "/api/downloads/" + url,
    ):
        assert open_url(user.app, changed).status_code == 404
    assert open_url(user.app, url + "?status=retired").status_code == 200


def test_session_that_has_ended_opens_nothing(user: Client) -> None:
    url = url_of(user)
    user.call("POST", "/api/auth/logout")
    assert open_url(user.app, url).status_code == 401


def test_what_its_path_answers_is_documented(user: Client) -> None:
    first, second = url_of(user), url_of(user)
    answers = [open_url(user.app, first), open_url(user.app, first)]
    user.call("POST", "/api/auth/logout")
    answers.append(open_url(user.app, second))
    assert [answer.status_code for answer in answers] == [200, 404, 401]
    for answer in answers:
        operation = Operation("/api/downloads/{token}", "get")
        user.document.check_answer(operation, answer.status_code, answer.mimetype, answer.get_json(silent=True))


def test_deactivated_user_gets_nothing(user: Client, admin: Client) -> None:
    url = url_of(user)
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"is_active": False})
    assert open_url(user.app, url).status_code == 401


def test_demoted_administrator_gets_what_users_get(sign_in: SignIn, admin: Client) -> None:
    demoted = sign_in(role=Role.ADMIN)
    url, shared = url_of(demoted, "/api/users/export"), url_of(demoted)
    admin.call("PATCH", f"/api/users/{demoted.user.id}", json={"role": "user"})
    assert open_url(demoted.app, url).status_code == 403
    assert open_url(demoted.app, shared).status_code == 200
    demoted.call("POST", "/api/downloads", json={"path": "/api/users/export"}, expect=403)


def test_revoked_personal_token_gets_nothing(user: Client) -> None:
    created = user.call("POST", "/api/auth/tokens", json={"name": "ci", "scopes": ["write"]}, expect=201)["data"]
    script = Client(user.app, user.document, created["token"], user.user)
    first, second = url_of(script), url_of(script)
    assert open_url(user.app, first).status_code == 200
    user.call("DELETE", f"/api/auth/tokens/{created['id']}")
    assert open_url(user.app, second).status_code == 401


def test_record_says_who_and_not_the_link(user: Client, admin: Client, capfd: pytest.CaptureFixture[str]) -> None:
    url = url_of(user)
    open_url(user.app, url)
    refused = url_of(admin, "/api/users/export")
    admin.call("POST", "/api/auth/logout")
    open_url(user.app, refused)
    with user.app.app_context():
        records = db.session.scalars(sa.select(AuditLog).order_by(AuditLog.id)).all()
        (export,) = [record for record in records if record.action == "export"]
        assert (export.user_id, export.resource_type) == (user.user.id, "servers")
        assert not any("downloads" in str(vars(record)) for record in records)
    logged = capfd.readouterr()
    assert url not in logged.out + logged.err


@pytest.mark.parametrize(
    "path",
    [
        *("/api/servers", "/api/auth/me", "/api/docs/start.js", "/metrics", "/api/nowhere", "x", "/api/downloads/x"),
        *("https://elsewhere.example/api/servers/export", "//elsewhere.example/api/servers/export"),
        *("/api/uploads/..", "/api/uploads/%2e%2e", "/api/x/../servers/export", "/api/servers/export#x"),
        *("/api/servers/export?a=\r\nb", "http://[", "/api/%ff/export", "/api/imports/1/apply"),
    ],
)
def test_only_files_have_links(user: Client, path: str) -> None:
    answer = user.call("POST", "/api/downloads", json={"path": path}, expect=422)["data"]
    assert list(answer["errors"]) == ["path"]


def test_every_kind_of_file_has_links(admin: Client) -> None:
    for path in (
        "/api/export.xlsx",
        "/api/imports/template.xlsx?resource=servers",
        "/api/audit-logs/export?format=csv",
    ):
        assert open_url(admin.app, url_of(admin, path)).status_code == 200
    assert open_url(admin.app, url_of(admin, "/api/imports/999/report.xlsx")).status_code == 404


def test_file_has_its_name_in_chinese(user: Client, upload: Upload) -> None:
    import_ = upload(user, Servers=[["Name"], ["a"]], filename="机柜 1.xlsx")
    disposition = open_url(user.app, url_of(user, f"/api/imports/{import_['id']}/report.xlsx")).headers
    assert disposition["Content-Disposition"] == (
        "attachment; filename=\"__ 1-report.xlsx\"; filename*=UTF-8''%E6%9C%BA%E6%9F%9C%201-report.xlsx"
    )


def test_uses_are_forgotten_when_links_have_expired(user: Client, app: Flask) -> None:
    open_url(app, url_of(user))
    with app.app_context():
        links.purge()
        assert _uses() == 1
        db.session.execute(sa.update(UsedDownload.__table__).values(expires_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()
        links.purge()
        assert _uses() == 0


def _uses() -> Any:
    return db.session.scalar(sa.select(sa.func.count()).select_from(UsedDownload))
