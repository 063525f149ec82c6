"""The list of imports: filtered, sorted and walked as the lists of resources are."""

from io import BytesIO
from typing import Any

import pytest

from tests.client import Client
from tests.spread import any_database

pytestmark = any_database

NAMES = ("racks.csv", "rooms.csv", "servers.csv")


@pytest.fixture
def uploaded(user: Client) -> list[int]:
    """The ids of three imports, by the names of their files."""
    return [upload(user, name) for name in NAMES]


def upload(client: Client, name: str) -> int:
    content = b"Name\nDC-1\n"
    answer = client.call(
        "POST", "/api/imports", data={"file": (BytesIO(content), name), "resource": "datacenters"}, expect=202
    )
    return int(answer["data"]["id"])


def ids(client: Client, **query: Any) -> list[int]:
    return [item["id"] for item in client.call("GET", "/api/imports", query_string=query)["data"]]


def test_the_latest_come_first(user: Client, uploaded: list[int]) -> None:
    assert ids(user) == uploaded[::-1]


def test_they_are_filtered(user: Client, uploaded: list[int]) -> None:
    assert ids(user, status="queued") == uploaded[::-1]
    assert ids(user, status="applied") == []
    assert ids(user, filename__contains="SERV") == uploaded[2:]
    assert ids(user, q="racks") == uploaded[:1]
    assert ids(user, created_by=user.user.username, id__lt=uploaded[2]) == uploaded[1::-1]


def test_they_are_sorted(user: Client, uploaded: list[int]) -> None:
    assert ids(user, sort="id") == uploaded
    assert ids(user, sort="-filename") == uploaded[::-1]


def test_they_are_walked_by_cursor(user: Client, uploaded: list[int]) -> None:
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = user.call("GET", "/api/imports", query_string={"cursor": cursor, "page_size": 2})
        seen += [item["id"] for item in page["data"]]
        cursor = page["pagination"]["next_cursor"]
    assert seen == uploaded[::-1]


def test_others_see_none_and_administrators_all(
    user: Client, other: Client, admin: Client, uploaded: list[int]
) -> None:
    assert ids(other) == []
    assert ids(other, id=uploaded[0]) == []
    assert ids(admin, created_by=user.user.username) == uploaded[::-1]


def test_a_misspelt_parameter_is_refused(user: Client) -> None:
    answer = user.call("GET", "/api/imports", query_string={"stauts": "ready"}, expect=400)
    assert answer["data"]["did_you_mean"][0] == "status"
    user.call("GET", "/api/imports", query_string={"fields": "id"}, expect=400)
