"""Queries of the audit log: by change, by page and cursor, with counts that stop."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.audit_logs import pages
from app.core.audit import recorder
from app.core.db.unit_of_work import writing
from app.gpus.models import Gpu
from app.servers.models import Server
from tests.client import Body, Client
from tests.factories import Make

LOGS = "/api/audit-logs"


def select(admin: Client, **parameters: Any) -> Body:
    return admin.call("GET", LOGS, query_string={"page_size": 100, **parameters})


def changed(admin: Client, **parameters: Any) -> list[int]:
    """The versions of servers in the matching records."""
    page = select(admin, resource_type="servers", sort="id", **parameters)
    assert page["pagination"]["total"] == len(page["data"])
    return [record["version"] for record in page["data"]]


@pytest.fixture
def server(make: Make, admin: Client) -> Server:
    """Version 1 has a name and a status; 2 changes the status, 3 the memory and a tag, 4 the status back, 5 clears."""
    created = make(Server, name="Web 1")
    for change in (
        {"status": "offline"},
        {"memory_gb": 256.0, "tags": ["prod"]},
        {"status": "active", "owner": "Team Ä " + "x" * 80},
        {"owner": None},
    ):
        admin.call("PATCH", f"/api/servers/{created.id}", json=change)
    return created


@pytest.mark.usefixtures("server")
def test_records_are_found_by_the_field_that_changed(admin: Client) -> None:
    # The values of a creation are no changes.
    assert changed(admin, field="status") == [2, 4]
    assert changed(admin, field="memory_gb") == [3]
    assert changed(admin, field="rack") == []


@pytest.mark.usefixtures("server")
def test_creations_are_searched_where_they_are_asked_for(admin: Client) -> None:
    assert changed(admin, action="create", field="name", to="web 1") == [1]
    assert changed(admin, action=["create", "update"], field="status", to="active") == [1, 4]
    assert changed(admin, action__in="create,update", field="status", **{"from": ""}) == [1]
    assert changed(admin, action="create", to="offline") == []
    queries: list[tuple[dict[str, Any], list[str] | None]] = [
        ({"field": "name"}, ["create"]),
        ({"to": "web 1", "cursor": ""}, ["create"]),
        ({"field": "name", "action": "update"}, ["create"]),
        ({"field": "name", "action": "create"}, None),
        ({"action": "create"}, None),
    ]
    for query, left_out in queries:
        assert select(admin, **query)["pagination"].get("left_out") == left_out


@pytest.mark.parametrize(
    ("query", "reason", "meant"),
    [
        ({"action": "creat"}, "unknown_action", "create"),
        ({"action": ["create", "Delet"]}, "unknown_action", "delete"),
        ({"action__in": "login,logn"}, "unknown_action", "login"),
        ({"action__ne": "denyed"}, "unknown_action", "denied"),
        ({"resource_type": "server"}, "unknown_resource_type", "servers"),
        ({"resource_type__ne": "gpu"}, "unknown_resource_type", "gpus"),
        ({"field": "stats"}, "unknown_field", "status"),
        ({"field": "server_idd", "action": "create"}, "unknown_field", "server_id"),
    ],
)
@pytest.mark.usefixtures("server")
def test_misspelt_names_are_refused(admin: Client, query: dict[str, Any], reason: str, meant: str) -> None:
    for path in (LOGS, f"{LOGS}/export", "/api/auth/me/activity"):
        data = admin.call("GET", path, query_string=query, expect=400)["data"]
        assert data["reason"] == reason
        assert meant in data["did_you_mean"]


def test_the_history_of_an_object_refuses_them_too(server: Server, admin: Client) -> None:
    answer = admin.call("GET", f"/api/servers/{server.id}/history?action=creat", expect=400)
    assert answer["data"]["did_you_mean"][0] == "create"


def test_whatever_the_log_has_can_be_asked_for(app: Flask, admin: Client) -> None:
    """Events have fields that no resource has, and the log outlives columns and resources."""
    admin.call("POST", "/api/auth/tokens", json={"name": "t", "scopes": ["read"]}, expect=201)
    with app.app_context(), writing():
        recorder.record("import", "racks", 7, "R1", {"height": {"old": 1, "new": 2}})
    for query in ({"action": "import"}, {"resource_type": "racks"}, {"field": "height"}):
        assert [record["resource_name"] for record in select(admin, **query)["data"]] == ["R1"]
    for record in select(admin)["data"]:
        names = {"action": record["action"], "resource_type": record["resource_type"]}
        assert record["id"] in [found["id"] for found in select(admin, **names)["data"]]
        for field in record["changes"]:
            select(admin, field=field)


@pytest.mark.usefixtures("server")
def test_records_are_found_by_old_and_new_value(admin: Client) -> None:
    assert changed(admin, field="status", to="offline") == [2]
    assert changed(admin, field="status", **{"from": "offline"}) == [4]
    assert changed(admin, field="status", **{"from": "OFFLINE", "to": "Active"}) == [4]
    assert changed(admin, field="status", **{"from": "active", "to": "active"}) == []
    assert changed(admin, field="memory_gb", to="256") == [3]
    assert changed(admin, field="owner", to="team ä " + "X" * 80) == [4]
    assert changed(admin, field="owner", to="team ä " + "x" * 79) == []


def test_addresses_are_found_in_any_spelling(make: Make, admin: Client) -> None:
    server = make(Server, internal_ip="2001:db8::9", mac_address="00:1b:44:11:3a:b7")
    new = {"internal_ip": "10.0.0.9", "mac_address": "00:1b:44:11:3a:b8"}
    admin.call("PATCH", f"/api/servers/{server.id}", json=new)
    for old, now in (("2001:0DB8:0::0009", "::ffff:10.0.0.9"), ("001B.4411.3AB7", "00-1b-44-11-3a-b8")):
        assert changed(admin, **{"from": old}) == changed(admin, to=now) == [2]
        assert changed(admin, to=old) == []
    assert changed(admin, field="internal_ip", **{"from": "2001:DB8::0009"}) == [2]


@pytest.mark.usefixtures("server")
def test_nothing_is_a_value_too(admin: Client) -> None:
    assert changed(admin, field="owner", **{"from": ""}) == [4]
    assert changed(admin, field="owner", to="") == [5]
    assert changed(admin, field="status", **{"from": ""}) == []


@pytest.mark.usefixtures("server")
def test_values_are_found_whatever_field_they_were_in(admin: Client) -> None:
    assert changed(admin, to="offline") == [2]
    assert changed(admin, to="WEB 1") == []
    assert changed(admin, **{"from": "offline", "to": "active"}) == [4]
    # Both must be of one change.
    assert changed(admin, **{"from": "offline", "to": "256"}) == []


def test_members_of_lists_are_found_by_being_lost_and_got(make: Make, admin: Client) -> None:
    created = make(Server, tags=["prod", "Blue"])
    for tags in (["prod", "green", "red"], ["prod"], []):
        admin.call("PATCH", f"/api/servers/{created.id}", json={"tags": tags})
    assert changed(admin, field="tags") == [2, 3, 4]
    assert changed(admin, field="tags", to="green") == [2]
    assert changed(admin, field="tags", **{"from": "GREEN"}) == [3]
    assert changed(admin, field="tags", **{"from": "prod"}) == [4]
    assert changed(admin, field="tags", to="prod") == []
    assert changed(admin, field="tags", **{"from": "blue", "to": "red"}) == [2]
    assert changed(admin, **{"from": "blue", "to": "red"}) == [2]
    assert changed(admin, field="tags", **{"from": "red", "to": "blue"}) == []
    assert changed(admin, **{"from": "red"}) == [3]


def test_attributes_are_found_as_fields_of_their_own(make: Make, admin: Client) -> None:
    created = make(Server, attributes={"rack_unit": 7, "contact": "Ann"})
    for attributes in (
        {"rack_unit": 12, "contact": "Ann", "leased": True},
        {"contact": "Bob " + "x" * 80, "leased": None},
        None,
    ):
        admin.call("PATCH", f"/api/servers/{created.id}", json={"attributes": attributes})
    assert changed(admin, field="attributes") == [2, 3, 4]
    assert changed(admin, field="attributes.rack_unit") == [2, 4]
    assert changed(admin, field="attributes.rack_unit", **{"from": 7, "to": 12}) == [2]
    assert changed(admin, field="attributes.rack_unit", **{"from": 12, "to": ""}) == [4]
    assert changed(admin, field="attributes.leased", **{"from": "", "to": "true"}) == [2]
    assert changed(admin, field="attributes.contact", to="bob " + "X" * 80) == [3]
    assert changed(admin, field="attributes", **{"from": "ann"}) == [3]
    assert changed(admin, **{"from": "7", "to": "12"}) == [2]
    # Both must be of one attribute.
    assert changed(admin, field="attributes", **{"from": "7", "to": "true"}) == []
    assert changed(admin, field="attributes.rack") == []
    assert changed(admin, field="rack_unit") == []


def test_a_reference_is_found_by_either_of_its_names(make: Make, admin: Client) -> None:
    gpu, server = make(Gpu), make(Server)
    admin.call("PATCH", f"/api/gpus/{gpu.id}", json={"server_id": server.id})
    for field in ("server", "server_id"):
        records = select(admin, resource_type="gpus", field=field, to=server.id)["data"]
        assert [record["resource_id"] for record in records] == [gpu.id]


def test_marks_in_what_is_asked_for_are_plain(make: Make, admin: Client) -> None:
    strange = 'a"},"status":{"old":"x","new":"%_\\'
    created = make(Server, name="plain")
    admin.call("PATCH", f"/api/servers/{created.id}", json={"owner": strange})
    assert changed(admin, field="status", to="%_\\") == []
    assert changed(admin, field="owner", to=strange) == [2]
    admin.call("GET", LOGS, query_string={"field": 'owner":{"old'}, expect=400)


def test_a_keyword_is_found_in_any_of_the_texts_and_wildcards_are_plain(make: Make, admin: Client) -> None:
    created = make(Server, name="db_100%")
    admin.call("PATCH", f"/api/servers/{created.id}", json={"rack": "R1"}, headers={"X-Audit-Reason": "Ticket 4711"})
    for text, versions in (("B_100%", [1, 2]), ("ticket 47", [2]), ("the tests", [1]), ("127.0.0.1", [2]), ("_%", [])):
        assert changed(admin, q=text) == versions, text


def test_the_total_stops_counting(make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        make(Server)
    assert select(admin, resource_type="servers", page_size=2)["pagination"] == {
        "page": 1, "page_size": 2, "total": 5, "pages": 3,
    }  # fmt: skip
    monkeypatch.setattr(pages, "MAX_COUNT", 4)
    exact = select(admin, resource_type="servers", page_size=2, version__lt=2, id__gt=0)
    assert exact["pagination"] == {"page": 1, "page_size": 2, "total": 4, "pages": None, "at_least": True}
    walked = select(admin, resource_type="servers", cursor="")
    assert (walked["pagination"]["total"], walked["pagination"]["at_least"]) == (4, True)
    assert len(walked["data"]) == 5
    silent = select(admin, resource_type="servers", total="none", page_size=2)
    assert silent["pagination"] == {"page": 1, "page_size": 2, "total": None, "pages": None}


@pytest.mark.parametrize("scanned", [1, 3, 100], ids=lambda count: f"{count} scanned")
def test_pages_do_not_depend_on_how_many_records_are_scanned(
    make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    created = make(Server, name="frequent")
    for turn in range(12):
        body = {"owner": f"team {turn}"} if turn % 3 else {"rack": f"R{turn}"}
        admin.call("PATCH", f"/api/servers/{created.id}", json=body)
    queries: list[dict[str, Any]] = [
        {"field": "owner"},
        {"q": "frequent", "sort": "-id"},
        {"field": "owner", "user_id": admin.call("GET", "/api/auth/me")["data"]["id"], "sort": "-id"},
        {"field": "owner", "action": "update", "created_at__gte": "2020-01-01", "sort": "-created_at"},
    ]
    expected = [[record["id"] for record in select(admin, **query)["data"]] for query in queries]
    monkeypatch.setattr(pages, "MAX_COUNT", 4)
    for name in ("SCAN_RECORDS", "SCAN_RECORDS_IF_CHEAP", "SCAN_RECORDS_BY_FILTER"):
        monkeypatch.setattr(pages, name, scanned)
    for query, ids in zip(queries, expected, strict=True):
        first, second = (select(admin, page=page, page_size=3, **query) for page in (1, 2))
        assert [record["id"] for record in first["data"] + second["data"]] == ids[:6]
        assert (first["pagination"]["total"], first["pagination"]["at_least"]) == (4, True)
        cursor, walked = "", []
        while cursor is not None:
            page = select(admin, cursor=cursor, page_size=3, **query)
            walked += [record["id"] for record in page["data"]]
            cursor = page["pagination"]["next_cursor"]
        assert walked == ids


def test_a_page_behind_the_maximum_count_is_refused(make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        make(Server)
    monkeypatch.setattr(pages, "MAX_COUNT", 4)
    for total in ("exact", "none"):
        far = {"resource_type": "servers", "page": 4, "page_size": 2, "total": total}
        answer = admin.call("GET", LOGS, query_string=far, expect=400)
        assert answer["data"]["reason"] == "page_too_far"
    # A page past the end of a short list is empty.
    assert select(admin, resource_type="gpus", page=4, page_size=2)["data"] == []


def test_the_log_is_sorted_by_its_id_or_by_time(make: Make, admin: Client) -> None:
    for _ in range(3):
        make(Server)
    ids = [record["id"] for record in select(admin)["data"]]
    assert ids == sorted(ids)
    for sort in ("id", "created_at", "created_at,id"):
        assert [record["id"] for record in select(admin, sort=sort)["data"]] == ids
        backwards = ",".join(f"-{name}" for name in sort.split(","))
        assert [record["id"] for record in select(admin, sort=backwards)["data"]] == ids[::-1]
    for sort, reason in (("username", "unknown_sort_column"), ("created_at,-id", "invalid_parameter")):
        assert admin.call("GET", LOGS, query_string={"sort": sort}, expect=400)["data"]["reason"] == reason


def test_a_range_of_time(make: Make, admin: Client) -> None:
    for _ in range(4):
        make(Server)
    records = select(admin, resource_type="servers")["data"]
    since, until = records[1]["created_at"], records[3]["created_at"]
    for sort, expected in (("id", records[1:3]), ("-id", records[2:0:-1]), ("-created_at", records[2:0:-1])):
        limits = {"created_at__gte": since, "created_at__lt": until, "sort": sort, "resource_type": "servers"}
        assert select(admin, **limits)["data"] == expected
        first = select(admin, cursor="", **{**limits, "page_size": 1})
        second = select(admin, cursor=first["pagination"]["next_cursor"], **{**limits, "page_size": 1})
        assert first["data"] + second["data"] == expected
        assert second["pagination"]["next_cursor"] is None
    later = datetime.fromisoformat(until) + timedelta(days=1)
    assert select(admin, created_at__gte=later.isoformat())["data"] == []


@pytest.mark.parametrize("sort", ["id", "-id", "created_at", "-created_at"])
def test_cursors_visit_each_record_once(sort: str, make: Make, admin: Client) -> None:
    for _ in range(4):
        make(Server)
    expected = select(admin, sort=sort)["data"]
    visited: list[Body] = []
    cursor = ""
    while cursor is not None:
        page = select(admin, sort=sort, cursor=cursor, page_size=2)
        visited += page["data"]
        cursor = page["pagination"]["next_cursor"]
    assert visited == expected
    back = select(admin, sort=sort, cursor=page["pagination"]["prev_cursor"], page_size=100)
    assert back["data"] == expected[: len(back["data"])]


@pytest.mark.parametrize("name", ["field", "from", "to"])
def test_invalid_change_parameters_are_refused(name: str, admin: Client) -> None:
    twice = admin.call("GET", f"{LOGS}?{name}=a&{name}=b", expect=400)
    assert twice["data"]["reason"] == "repeated_parameter"
    admin.call("GET", LOGS, query_string={name: "a\0b"}, expect=400)
    admin.call("GET", LOGS, query_string={f"{name}__ne": "a"}, expect=400)
    assert admin.call("GET", "/api/servers", query_string={name: "a"}, expect=400)["data"]["reason"]


def test_my_own_activity_takes_the_same_filters(make: Make, user: Client, admin: Client) -> None:
    created = user.call("POST", "/api/servers", json={"name": "mine"}, expect=201)["data"]
    user.call("PATCH", f"/api/servers/{created['id']}", json={"name": "still mine"})
    admin.call("PATCH", f"/api/servers/{created['id']}", json={"name": "no longer"})
    trail = user.call("GET", "/api/auth/me/activity", query_string={"field": "name"})["data"]
    assert [record["version"] for record in trail] == [2]


def test_a_thousand_records_are_counted_exactly(admin: Client) -> None:
    def counted() -> tuple[int, bool]:
        pagination = select(admin, resource_type="tasks", page_size=1)["pagination"]
        return pagination["total"], "at_least" in pagination

    tasks = [{"title": f"task {number}"} for number in range(1000)]
    admin.call("POST", "/api/tasks/bulk", json={"items": tasks}, expect=201)
    assert counted() == (1000, False)
    admin.call("POST", "/api/tasks", json=tasks[0], expect=201)
    assert counted() == (1000, True)
