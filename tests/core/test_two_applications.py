"""Two applications in one process: each has its own jobs, caches, limits and document, and disturbs no other."""

from flask import Flask, current_app

from app.core.cache.backends import Lookup, local_pages
from app.core.cache.generations import generations_of_app
from app.core.cache.redis_client import attempt
from app.core.db.unit_of_work import writing
from app.core.http import api
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import runner_of
from app.datacenters.models import Datacenter
from tests.backends import on_servers
from tests.client import Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.openapi import Document
from tests.spread import any_database

pytestmark = any_database


def test_each_runs_jobs_with_its_own_settings(app: Flask, build_app: BuildApp) -> None:
    other = build_app(PUBLIC_URL="https://other.example.com")
    seen: list[str] = []

    def handle(_subject: int) -> None:
        seen.append(current_app.config["PUBLIC_URL"])

    for each in (app, other):
        runner_of(each).register("test", handle, lambda *_: None, lane="test")
    try:
        for each in (app, other, app):
            with app.app_context(), writing():
                enqueue("test", 1)
            assert runner_of(each).run_pending() == 1
    finally:
        del runner_of(app)._lanes["test"]
    assert seen == [each.config["PUBLIC_URL"] for each in (app, other, app)]


def test_the_commit_of_one_wakes_its_own_threads(app: Flask, build_app: BuildApp) -> None:
    other = build_app()
    lanes = [runner_of(each)._lanes["mail"] for each in (app, other)]
    for lane in lanes:
        lane.wake.clear()
    with other.app_context(), writing():
        enqueue("mail", 0)
    assert [lane.wake.is_set() for lane in lanes] == [False, True]


def test_a_redis_that_one_cannot_reach_is_there_for_the_other(app: Flask, build_app: BuildApp) -> None:
    other = build_app(REDIS_URL="redis://127.0.0.1:1/0")

    def fail() -> None:
        raise OSError

    with other.app_context():
        attempt(fail)
        assert attempt(lambda: "reached") is None
    with app.app_context():
        assert attempt(lambda: "reached") == "reached"


def test_pages_are_cached_apart(app: Flask, build_app: BuildApp) -> None:
    other = build_app()
    with app.app_context():
        lookup = Lookup("key", ["servers"], ["generation"], 0.0)
        local_pages().set(generations_of_app().read, lookup, b"page", 60)
        assert local_pages().get("key", ["generation"]) == b"page"
    with other.app_context():
        assert local_pages().get("key", ["generation"]) is None


def test_each_answers_and_documents_the_same(
    app: Flask, build_app: BuildApp, document: Document, admin: Client, make: Make
) -> None:
    other = build_app()
    make(Datacenter, name="seen by both")
    assert api.document(other) == api.document(app)
    client = Client(other, document, admin.token)
    assert client.call("GET", "/api/datacenters") == admin.call("GET", "/api/datacenters")


@on_servers
def test_what_one_has_written_the_other_reads(
    app: Flask, build_app: BuildApp, document: Document, admin: Client, make: Make
) -> None:
    """Also where it has answered the same before; several processes need Redis."""
    reader = Client(build_app(), document, admin.token)
    site = f"/api/datacenters/{make(Datacenter, name='a').id}"
    for name in "bcd":
        admin.call("PATCH", site, json={"name": name})
        for path in ("/api/datacenters", "/api/dashboard", "/api/datacenters/facets?fields=name"):
            assert reader.call("GET", path) == admin.call("GET", path), path
        assert [each["name"] for each in reader.call("GET", "/api/datacenters")["data"]] == [name]
        assert reader.call("GET", site)["data"]["name"] == name
    admin.call("DELETE", site)
    assert reader.call("GET", "/api/datacenters")["data"] == []
    reader.call("GET", site, expect=404)


def test_each_has_its_own_limits(app: Flask, build_app: BuildApp, document: Document, admin: Client) -> None:
    strict = Client(build_app(API_LIMIT="1 per hour", REDIS_URL=None), document, admin.token)
    strict.call("GET", "/api/health")
    strict.call("GET", "/api/health", expect=429)
    admin.call("GET", "/api/health")
