"""Databases of other locales: names are compared and found in all of them as they are in one of C.UTF-8."""

import secrets
from collections.abc import Iterator

import flask_migrate
import pytest
from flask import Flask

import config
from app.core.db.schema import schema_problem
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.servers.models import Server
from app.users.models import User
from tests import backends
from tests.backends import on_postgresql
from tests.client import PASSWORD, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.openapi import Document

pytestmark = on_postgresql

LOCALES = {
    "C": "LOCALE 'C'",
    "tr-TR": "LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'",
}


@pytest.fixture(params=LOCALES.values(), ids=LOCALES)
def elsewhere(request: pytest.FixtureRequest, build_app: BuildApp) -> Iterator[Flask]:
    """The application on a database of this locale."""
    url = backends.own_url(secrets.token_hex(4))
    with backends.database(url, request.param):
        app = build_app(SQLALCHEMY_DATABASE_URI=url.render_as_string(hide_password=False))
        with app.app_context():
            flask_migrate.upgrade(directory=str(config.ROOT / "migrations"))
        yield app
        with app.app_context():
            db.engine.dispose()


def test_people_and_things_are_found_by_their_names(elsewhere: Flask, document: Document) -> None:
    with elsewhere.app_context():
        assert schema_problem(db.engine) is None
    make = Make(elsewhere)
    for name in ("IRIS", "İrem", "ışıl"):
        make(User, username=name, role=Role.ADMIN)
    client = Client(elsewhere, document)
    tokens = [log_in(client, name) for name in ("iris", "İREM", "irem", "ıŞıl")]
    admin = Client(elsewhere, document, tokens[0])
    new = {"username": "Iris", "email": "new@example.com", "password": "a new long password"}
    assert list(admin.call("POST", "/api/users", json=new, expect=409)["data"]["errors"]) == ["username"]
    for name in ("p10", "P2", "Ip1", "ip2", "IP10", "örn", "Zoe"):
        make(Server, name=name)
    names = [each["name"] for each in admin.call("GET", "/api/servers?sort=name")["data"]]
    # Where ö stands among the letters is up to the locale.
    assert [name for name in names if name != "örn"] == ["Ip1", "ip2", "IP10", "P2", "p10", "Zoe"]
    for query in ("name=IP1", "name__startswith=iP1&sort=name", "q=ip1"):
        assert admin.call("GET", f"/api/servers?{query}")["data"][0]["name"] == "Ip1", query
    assert admin.call("POST", "/api/servers", json={"name": "ÖRN"}, expect=409)


def log_in(client: Client, name: str) -> str:
    body = {"username": name, "password": PASSWORD}
    token: str = client.call("POST", "/api/auth/login", json=body)["data"]["access_token"]
    return token
