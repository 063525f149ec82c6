"""`?dry_run=true` on every route that writes: the answer of the write, and nothing of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.core.db.models import Base
from app.core.db.unit_of_work import db
from app.core.request_context import SAFE_METHODS
from tests.conftest import SignIn
from tests.contract.test_access_table import TABLE, Scene, status_of
from tests.factories import Make
from tests.openapi import Document, Operation, template_of
from tests.spread import any_database

pytestmark = any_database

EXECUTED = {("POST", f"/api/auth/{name}") for name in ("login", "refresh", "browser/login", "browser/refresh")}
"""They compare a password or use up a token, which counts whatever the caller wants of it."""
CHECKED_PASSWORD = {"last_check_at"}
"""What a comparison of a password leaves in `users`."""

Tables = Mapping[str, Mapping[tuple[Any, ...], Mapping[str, Any]]]


def tables(app: Flask) -> Tables:
    """All rows of the database by their primary key."""
    with app.app_context(), db.engine.connect() as connection:
        return {
            table.name: {
                tuple(row[column.name] for column in table.primary_key): {
                    name: value for name, value in row.items() if name not in CHECKED_PASSWORD
                }
                for row in connection.execute(sa.select(table)).mappings()
            }
            for table in Base.metadata.sorted_tables
        }


def files(app: Flask) -> set[Path]:
    return set(Path(app.config["UPLOAD_DIR"]).rglob("*"))


def test_every_route_that_writes_answers_a_dry_run_and_stores_nothing(
    app: Flask, document: Document, make: Make, sign_in: SignIn
) -> None:
    app.config["REGISTRATION_ENABLED"] = True
    scene = Scene(app, document, make, sign_in)
    writes = {(method, route) for method, route in TABLE if method not in SAFE_METHODS} - EXECUTED
    assert len(writes) > 90
    for method, route in sorted(writes, key=lambda key: (key[1], key[0])):
        kind = "owner" if TABLE[method, route]["owner"] < 300 <= TABLE[method, route]["admin"] else "admin"
        expected = 201 if route == "/api/auth/register" else TABLE[method, route][kind]
        path, options = scene.request(method, route, scene.callers[kind])
        before, files_before = tables(app), files(app)
        assert status_of(scene.callers[kind], method, f"{path}?dry_run=true", options) == expected, (method, route)
        after = tables(app)
        assert {name for name in after if after[name] != before[name]} == set(), (method, route)
        assert files(app) == files_before, (method, route)


def test_every_write_of_the_document_takes_it(app: Flask, document: Document) -> None:
    views = {
        Operation(template_of(rule.rule), method.lower()): app.view_functions[rule.endpoint]
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - SAFE_METHODS
    }
    taken = {key for key, view in views.items() if view.takes_dry_run}  # type: ignore[attr-defined]
    assert {(method.upper(), path) for path, method in views.keys() - taken} == EXECUTED
    documented = {key for key in views if "dry_run" in document.query_parameters(key)}
    assert documented == taken
