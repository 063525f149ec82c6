"""The table of what can be found, and the counters, after an import, its revert, a cascade and its restore."""

import pytest
from flask import Flask

from app.core.db.unit_of_work import db, writing
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import Client
from tests.counters import assert_counters_match_objects
from tests.factories import Make
from tests.features.conftest import Upload
from tests.features.imports.test_import import APPLY, FLEET
from tests.features.imports.test_revert import revert
from tests.search_entries import assert_entries_match_objects, read_entries


def test_an_import_and_its_revert(app: Flask, admin: Client, upload: Upload, make: Make) -> None:
    make(Server, name="n1", os="Debian")
    before = read_entries(app)
    import_ = upload(admin, form=APPLY, **FLEET)
    assert import_["status"] == "applied"
    assert_entries_match_objects(app)
    assert read_entries(app).keys() > before.keys()
    assert_counters_match_objects(app)
    revert(admin, import_)
    assert_entries_match_objects(app)
    assert_counters_match_objects(app)
    assert read_entries(app) == before


def test_a_cascade_and_its_restore(app: Flask, admin: Client, upload: Upload) -> None:
    upload(admin, form=APPLY, **FLEET)
    before = read_entries(app)
    server = admin.call("GET", "/api/servers?name=n1")["data"][0]
    admin.call("DELETE", f"/api/servers/{server['id']}?cascade=true")
    assert_entries_match_objects(app)
    assert len(read_entries(app)) < len(before)
    assert_counters_match_objects(app)
    (record,) = admin.call("GET", "/api/audit-logs?action=delete&resource_type=servers")["data"]
    admin.call("POST", f"/api/audit-logs/{record['id']}/restore")
    assert read_entries(app) == before
    assert_counters_match_objects(app)


@pytest.mark.parametrize("query", ["dry_run=true", ""])
def test_what_is_rolled_back_leaves_nothing(app: Flask, admin: Client, query: str) -> None:
    admin.call("POST", f"/api/servers?{query}", expect=201, json={"name": "a", "asset_tag": "t"})
    admin.call("POST", "/api/servers", expect=(201, 409), json={"name": "b", "asset_tag": "t"})
    assert_entries_match_objects(app)
    assert_counters_match_objects(app)


def test_an_object_that_is_handed_over(app: Flask, make: Make, user: Client, other: Client) -> None:
    """Its new owner finds it, and the old one no longer."""
    task = make(Task, title="replace the fan", created_by_id=user.user.id)
    with app.app_context(), writing():
        db.session.get_one(Task, task.id).created_by_id = other.user.id
    assert_entries_match_objects(app)
    for client, ids in ((user, []), (other, [task.id])):
        hits = client.call("GET", "/api/search", query_string={"q": "fan replace"})["data"]["hits"]
        assert [hit["id"] for hit in hits] == ids
