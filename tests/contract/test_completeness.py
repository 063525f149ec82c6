"""Whatever changes an object leaves its record: every route, the command line, imports, cascades; or it is refused."""

from io import BytesIO

import sqlalchemy as sa
from flask import Flask

from app.core.audit.declaration import Audited
from app.core.db.models import Base, Entity
from app.core.db.unit_of_work import db
from app.core.jobs.runner import runner_of
from app.gpus.models import Gpu
from app.servers.models import Server
from app.services.models import Service
from tests.client import Client
from tests.conftest import SignIn
from tests.contract.test_access_table import ENDING, TABLE, Scene, status_of
from tests.factories import Make
from tests.features.conftest import workbook
from tests.openapi import Document, template_of
from tests.replay import assert_log_matches_tables

SAFE = {"GET", "HEAD", "OPTIONS"}


def test_every_route_that_changes_something_leaves_its_records(
    app: Flask, document: Document, make: Make, sign_in: SignIn
) -> None:
    routes = sorted(
        (template_of(rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - SAFE
    )
    assert len(routes) > 40
    scene = Scene(app, document, make, sign_in)
    for route, method in routes:
        for kind in ("owner", "admin"):
            caller = scene.callers[kind]
            path, options = scene.request(method, route, caller)
            assert status_of(caller, method, path, options) == TABLE[method, route][kind], (method, path)
            runner_of(app).run_pending()
            assert_log_matches_tables(app)
            if (method, route) in ENDING:
                scene = Scene(app, document, make, sign_in)


def test_the_command_line_leaves_its_records(app: Flask) -> None:
    made = ["create-admin", "second", "second@example.com", "--password", "a very long password"]
    for arguments in (["init-db"], made):
        with app.app_context():
            assert app.test_cli_runner().invoke(args=arguments).exit_code == 0
    assert_log_matches_tables(app)
    with app.app_context():
        users = db.session.scalar(sa.select(sa.func.count()).select_from(Base.metadata.tables["users"]))
    assert users == 2


def test_an_import_and_what_it_changes_leave_their_records(app: Flask, make: Make, admin: Client) -> None:
    make(Server, name="n1", rack="old", attributes={"qos": "BE"})
    sheets = {
        "Servers": [("Name", "Rack", "Memory (GB)", "qos"), ("n1", "new", 256, "LS"), ("n2", "R2", 0.5, None)],
        "GPUs": [("Server", "Slot", "Model"), ("n1", 0, "T4"), ("n2", 1, "T4")],
    }
    for expected in ("applied", "applied"):
        file = {"file": (BytesIO(workbook(**sheets)), "fleet.xlsx"), "apply": "true"}
        answer = admin.send("POST", "/api/imports", data=file, expect=202)
        runner_of(app).run_pending()
        assert admin.call("GET", answer.headers["Location"])["data"]["status"] == expected
        assert_log_matches_tables(app)


def test_cascades_and_restores_leave_their_records(app: Flask, make: Make, admin: Client) -> None:
    server = make(Server)
    for _ in range(3):
        make(Gpu, server_id=server.id)
        make(Service, server_id=server.id, container_id=None)
    admin.call("DELETE", f"/api/servers/{server.id}?cascade=true")
    assert_log_matches_tables(app)
    deletions = {"resource_type": "servers", "action": "delete"}
    record = admin.call("GET", "/api/audit-logs", query_string=deletions)["data"][0]
    admin.call("POST", f"/api/audit-logs/{record['id']}/restore")
    assert_log_matches_tables(app)


def test_there_is_no_other_way_to_change_an_object() -> None:
    """What clients see is recorded, and no relationship, whose changes nobody would see, leads from one to another."""
    for mapper in Base.registry.mappers:
        assert not mapper.relationships, mapper
        assert issubclass(mapper.class_, Entity) <= issubclass(mapper.class_, Audited), mapper
    # A table without a class would be an association: written by nobody's flush.
    assert set(Base.metadata.tables) == {mapper.local_table.name for mapper in Base.registry.mappers}  # type: ignore[attr-defined]
