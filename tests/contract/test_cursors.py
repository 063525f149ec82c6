"""Walking a list by cursor, in both directions, in any order."""

from typing import Any

import pytest

from app.resource import Resource
from app.resource.query import select
from app.resource.query.list_query import sortable
from app.servers.routes import resource as servers
from tests.client import Body, Client
from tests.conftest import Statements
from tests.contract.resources import each_resource, varied_rows
from tests.factories import Make
from tests.spread import spread

pytestmark = spread


def walk(admin: Client, resource: Resource, start: str, towards: str, **query: Any) -> list[list[int]]:
    """The ids of each page from a cursor on, until there is no further one."""
    pages: list[list[int]] = []
    cursor: str | None = start
    while cursor is not None:
        body = page(admin, resource, cursor, **query)
        pages.append([row["id"] for row in body["data"]])
        cursor = body["pagination"][towards]
        assert len(pages) <= 100, "The walk goes in circles."
    return pages


def page(admin: Client, resource: Resource, cursor: str, **query: Any) -> Body:
    return admin.call("GET", resource.path, query_string={"cursor": cursor, "page_size": 2, **query})


def by_number(admin: Client, resource: Resource, number: int, **query: Any) -> Body:
    return admin.call("GET", resource.path, query_string={"page_size": 2, "page": number, **query})


@each_resource
def test_a_walk_meets_each_row_once_in_the_order_of_the_list(resource: Resource, make: Make, admin: Client) -> None:
    count = len(varied_rows(resource, 5, make, admin))
    for name in sortable(resource):
        for sort in (name, f"-{name}", *([f"{name},-id"] if name != "id" else [])):
            listed = admin.call("GET", resource.path, query_string={"sort": sort, "page_size": 100})["data"]
            expected = [row["id"] for row in listed]
            forward = walk(admin, resource, "", "next_cursor", sort=sort)
            assert [identity for ids in forward for identity in ids] == expected, sort
            assert len(forward) == -(-count // 2)


@each_resource
def test_the_way_back_shows_the_same_pages(resource: Resource, make: Make, admin: Client) -> None:
    varied_rows(resource, 5, make, admin)
    for sort in ("id", "-id", f"-{sortable(resource)[-1]}"):
        forward = walk(admin, resource, "", "next_cursor", sort=sort)
        cursor = ""
        for _ in range(len(forward) - 1):
            cursor = page(admin, resource, cursor, sort=sort)["pagination"]["next_cursor"]
        last = page(admin, resource, cursor, sort=sort)
        assert last["pagination"]["next_cursor"] is None
        back = walk(admin, resource, last["pagination"]["prev_cursor"], "prev_cursor", sort=sort)
        assert back == forward[-2::-1], sort


@each_resource
def test_a_walk_is_filtered_and_counted_like_a_list(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 5, make, admin)
    wanted = [row["id"] for row in rows][1:]
    query = {"id__gte": wanted[0], "fields": "id"}
    assert [i for ids in walk(admin, resource, "", "next_cursor", **query) for i in ids] == wanted
    first = page(admin, resource, "", **query)["pagination"]
    assert first == {
        "page_size": 2,
        "total": len(wanted),
        "next_cursor": first["next_cursor"],
        "prev_cursor": None,
    }
    assert page(admin, resource, "", total="none", **query)["pagination"]["total"] is None


@each_resource
def test_rows_that_come_and_go_neither_repeat_nor_hide_others(resource: Resource, make: Make, admin: Client) -> None:
    expected = [row["id"] for row in varied_rows(resource, 4, make, admin)]
    body = page(admin, resource, "", sort="-id")
    assert [row["id"] for row in body["data"]] == expected[:-3:-1]
    added = make(resource.model).id
    rest = walk(admin, resource, body["pagination"]["next_cursor"], "next_cursor", sort="-id")
    assert [identity for ids in rest for identity in ids] == expected[-3::-1]
    assert added not in expected


@each_resource
def test_a_cursor_that_is_not_ours_is_refused(resource: Resource, make: Make, admin: Client) -> None:
    varied_rows(resource, 3, make, admin)
    cursor = page(admin, resource, "", sort="-id")["pagination"]["next_cursor"]
    other = "servers" if resource.name != "servers" else "gpus"
    for path, query in (
        (resource.path, {"cursor": cursor[:-2] + "xx", "sort": "-id"}),
        (resource.path, {"cursor": "nonsense"}),
        (resource.path, {"cursor": cursor, "sort": "id"}),
        (resource.path, {"cursor": cursor}),
        (f"/api/{other}", {"cursor": cursor, "sort": "-id"}),
    ):
        body = admin.call("GET", path, query_string=query, expect=400)
        assert body["data"]["reason"] == "invalid_cursor"
    admin.call("GET", resource.path, query_string={"cursor": "", "page": 1}, expect=400)


@pytest.mark.parametrize("sort", ["id", "-name"])
def test_a_walk_sends_the_same_statements_on_every_page(
    sort: str, make: Make, admin: Client, statements: Statements
) -> None:
    for _ in range(6):
        make(servers.model)
    cursor = page(admin, servers, "", sort=sort)["pagination"]["next_cursor"]
    with statements() as second:
        following = page(admin, servers, cursor, sort=sort)["pagination"]["next_cursor"]
    with statements() as third:
        page(admin, servers, following, sort=sort)
    assert third == second


@each_resource
def test_a_page_far_behind_names_the_cursor_of_the_next(
    resource: Resource, make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied_rows(resource, 6, make, admin)
    monkeypatch.setattr(select, "FAR_ROWS", 2)
    sort = f"-{sortable(resource)[-1]}"
    pages = [by_number(admin, resource, number, sort=sort) for number in (1, 2, 3)]
    assert "next_cursor" not in pages[0]["pagination"]
    after_second = page(admin, resource, pages[1]["pagination"]["next_cursor"], sort=sort)
    assert after_second["data"] == pages[2]["data"]


@pytest.mark.parametrize("goes_back", [False, True], ids=["forth", "back"])
@each_resource
def test_pages_far_behind_are_those_of_the_list(
    goes_back: bool, resource: Resource, make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forth, each begins where the one before has ended; back, it is counted off from the end: all were counted."""
    varied_rows(resource, 7, make, admin)
    monkeypatch.setattr(select, "FAR_ROWS", 2)
    for name in sortable(resource):
        for sort in (name, f"-{name}"):
            every = admin.call("GET", resource.path, query_string={"sort": sort, "page_size": 100})["data"]
            numbers = range(1, -(-len(every) // 2) + 2)
            for number in reversed(numbers) if goes_back else numbers:
                answer = by_number(admin, resource, number, sort=sort)
                assert answer["data"] == every[2 * number - 2 : 2 * number], (sort, number)
                assert answer["pagination"]["total"] == len(every)


@pytest.mark.parametrize(("sort", "reverse"), [("id", "-id"), ("-name", "name"), ("datacenter", "-datacenter")])
def test_the_last_page_is_read_like_the_first_ones_of_the_reverse_order_once_all_were_counted(
    sort: str, reverse: str, make: Make, admin: Client, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        make(servers.model)
    monkeypatch.setattr(select, "FAR_ROWS", 2)
    with statements() as uncounted:
        by_number(admin, servers, 4, sort=sort)
    with statements() as counted:
        by_number(admin, servers, 4, sort=sort, fields="id,name")
    with statements() as reversed_order:
        by_number(admin, servers, 2, sort=reverse, fields="id,name")
    first, last, expected = (
        [text for text in sent if "page_rows" in text] for sent in (uncounted, counted, reversed_order)
    )
    assert last == expected
    assert len(first) == len(last) == 1


@pytest.mark.parametrize("sort", ["id", "-name", "datacenter"])
def test_a_page_far_behind_is_read_like_one_by_cursor_after_the_one_before_it(
    sort: str, make: Make, admin: Client, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        make(servers.model)
    monkeypatch.setattr(select, "FAR_ROWS", 2)
    with statements() as by_jump:
        before = by_number(admin, servers, 2, sort=sort)
    with statements() as by_next:
        by_number(admin, servers, 3, sort=sort)
    with statements() as by_cursor:
        page(admin, servers, before["pagination"]["next_cursor"], sort=sort)
    jump, following, expected = (
        [text for text in sent if "page_rows" in text] for sent in (by_jump, by_next, by_cursor)
    )
    assert following == expected != jump


def test_a_page_far_behind_counts_what_has_come_before_it(
    make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [make(servers.model).id for _ in range(8)]
    monkeypatch.setattr(select, "FAR_ROWS", 2)
    by_number(admin, servers, 2, sort="-id")
    added = make(servers.model).id
    expected = sorted([*ids, added], reverse=True)[4:6]
    assert [row["id"] for row in by_number(admin, servers, 3, sort="-id")["data"]] == expected
