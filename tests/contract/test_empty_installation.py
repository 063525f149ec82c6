"""A new installation: what it begins with, and that every read works before there is anything to read."""

import re

import pytest

from app.cli import prepare_database
from tests.client import Client
from tests.conftest import BuildApp
from tests.openapi import Document

NEEDS: dict[str, tuple[str, ...]] = {
    "/api/search": ("q=a",),
    "/api/gpus/available": ("", "model=H100&count=2&same_server=true"),
    "/api/servers/tree": ("level=1", "level=2", "level=3"),
}
"""Query strings of the reads that need one, or that differ by it."""


def test_every_read_on_an_empty_installation(admin: Client, document: Document) -> None:
    reads = [operation for operation in document.operations if operation.method == "get" and "{" not in operation.path]
    assert len(reads) > 20
    for operation in reads:
        if operation.path == "/api/imports/template.xlsx":
            continue  # tests/features/exports/test_template.py
        needed = ("fields=created_by",) if operation.path.endswith("/facets") else ("",)
        for query in NEEDS.get(operation.path, needed):
            admin.send("GET", f"{operation.path}?{query}" if query else operation.path, expect=(200, 204))


def test_a_new_installation_has_environments_and_one_administrator(
    build_app: BuildApp, document: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build_app(ADMIN_USERNAME="chief", ADMIN_EMAIL="chief@example.com", ADMIN_PASSWORD=None)
    prepare_database(app)
    printed = re.match(r"The first administrator is chief with the password (\S+)\n", capsys.readouterr().out)
    assert printed is not None
    # Each start of a server calls it.
    prepare_database(app)
    assert capsys.readouterr().out == ""
    account = {"username": "chief@example.com", "password": printed[1]}
    session = Client(app, document).call("POST", "/api/auth/login", json=account)["data"]
    assert (session["user"]["role"], session["user"]["email"]) == ("admin", "chief@example.com")
    chief = Client(app, document, session["access_token"])
    environments = chief.call("GET", "/api/environments")["data"]
    assert {each["name"] for each in environments} == {"production", "staging", "development"}
    assert chief.call("GET", "/api/users")["pagination"]["total"] == 1


def test_a_deleted_environment_stays_deleted(admin: Client, build_app: BuildApp) -> None:
    prepare_database(build_app())
    first, *others = admin.call("GET", "/api/environments")["data"]
    admin.call("DELETE", f"/api/environments/{first['id']}")
    prepare_database(build_app())
    assert admin.call("GET", "/api/environments")["data"] == others
