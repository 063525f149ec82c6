"""What an import says of itself is true for the next request: lists show what it has applied."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import Session, db
from tests.backends import on_servers
from tests.client import Client
from tests.conftest import BuildApp
from tests.features.conftest import Upload
from tests.openapi import Document
from tests.threads import TIMEOUT_SECONDS

SITES = [("Name",), ("SH-1",)]


@contextmanager
def after_each_commit(look: Callable[[], None]) -> Iterator[None]:
    """Call a function in another thread after each commit to the database, before the process goes on."""
    with ThreadPoolExecutor(1) as others:

        def gate(_session: object) -> None:
            # Looking ends transactions too.
            if threading.current_thread() is threading.main_thread():
                others.submit(look).result(TIMEOUT_SECONDS)

        sa.event.listen(Session, "after_commit", gate)
        try:
            yield
        finally:
            sa.event.remove(Session, "after_commit", gate)


@pytest.mark.race
def test_applied_means_that_lists_show_it(admin: Client, upload: Upload) -> None:
    check_what_is_seen(admin, admin, upload)


@on_servers
def test_applied_means_that_lists_of_another_process_show_it(
    build_app: BuildApp, document: Document, admin: Client, upload: Upload
) -> None:
    """Several processes need Redis."""
    check_what_is_seen(Client(build_app(), document, admin.token), admin, upload)


def check_what_is_seen(reader: Client, admin: Client, upload: Upload) -> None:
    """Import a site, and look after each commit: it is listed exactly where the import is applied."""
    names: list[list[str]] = []
    statuses: list[str] = []

    def look() -> None:
        imports = reader.call("GET", "/api/imports")["data"]
        statuses.append(imports[0]["status"] if imports else "")
        names.append([site["name"] for site in reader.call("GET", "/api/datacenters")["data"]])

    reader.call("GET", "/api/datacenters")
    with after_each_commit(look):
        assert upload(admin, form={"apply": "true"}, Datacenters=SITES)["status"] == "applied"
    assert "ready" not in statuses
    for status, seen in zip(statuses, names, strict=True):
        assert (seen == ["SH-1"]) == (status == "applied"), statuses


def test_a_failed_commit_leaves_no_mark(app: Flask, admin: Client) -> None:
    admin.call("POST", "/api/datacenters", json={"name": "a"}, expect=201)
    admin.call("POST", "/api/datacenters", json={"name": "a"}, expect=409)
    with app.app_context():
        assert not app.extensions["generations"]._changing
        db.session.commit()
