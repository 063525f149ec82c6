"""Attributes in filters and orders: numbers as numbers however they are written, texts as texts."""

from itertools import pairwise
from typing import Any

from app.core.values import fold
from app.resource import Resource
from tests.client import Client
from tests.contract.resources import all_rows
from tests.contract.test_filters import filtered_ids
from tests.contract.test_merges import each_extensible
from tests.factories import Make

KEY = "size (GB)"
VALUES = [
    16,
    16.0,
    "16",
    "16.0",
    2,
    2.5,
    "100",
    -3,
    0,
    2**53,
    "alpha",
    "Beta",
    "ärger",
    "007",
    True,
    False,
    "2026-11-28",
]
NUMBERS = [16.0, 16.0, 16.0, 16.0, 2.0, 2.5, 100.0, -3.0, 0.0, 2.0**53, *[None] * 7]
TEXTS = ["16", "16", "16", "16.0", "2", "2.5", "100", "-3", "0", str(2**53), *map(fold, map(str, VALUES[10:]))]


def fill(resource: Resource, make: Make) -> list[int]:
    ids = [make(resource.model, attributes={KEY: value}).id for value in VALUES]
    make(resource.model, attributes={})
    return ids


def find(resource: Resource, client: Client, operator: str, *texts: str) -> list[int]:
    parameter = f"attributes.{KEY}" + (f"__{operator}" if operator else "")
    return filtered_ids(resource, client, {parameter: list(texts)})


@each_extensible
def test_a_number_is_found_however_it_is_written(resource: Resource, make: Make, admin: Client) -> None:
    ids = fill(resource, make)
    sixteen, rest = ids[:4], ids[4:]
    without = [row["id"] for row in all_rows(resource, admin) if not row["attributes"]]
    for text in ("16", "16.0", "16.000", "+16", "1.6e1"):
        assert find(resource, admin, "", text) == sixteen, text
        assert find(resource, admin, "ne", text) == [*rest, *without], text
    assert find(resource, admin, "in", "16.0,ALPHA,2") == [*sixteen, ids[4], ids[10]]
    assert find(resource, admin, "", "2.50", "true") == [ids[5], ids[14]]
    assert find(resource, admin, "ne", "16", "beta") == [*(each for each in rest if each != ids[11]), *without]
    assert find(resource, admin, "", "7") == []
    assert find(resource, admin, "", "007") == [ids[13]]
    assert find(resource, admin, "", str(2**53)) == [ids[9]]
    assert find(resource, admin, "", "") == find(resource, admin, "isnull", "true") == without
    assert find(resource, admin, "", "", "2") == [ids[4], *without]


@each_extensible
def test_attributes_in_order(resource: Resource, make: Make, admin: Client) -> None:
    ids = fill(resource, make)
    for text, limit in (("2", 2.0), ("15.5", 15.5), ("-3", -3.0), ("1e2", 100.0)):
        for operator, holds in (
            ("gt", float.__gt__),
            ("gte", float.__ge__),
            ("lt", float.__lt__),
            ("lte", float.__le__),
        ):
            wanted = [
                each for each, number in zip(ids, NUMBERS, strict=True) if number is not None and holds(number, limit)
            ]
            assert find(resource, admin, operator, text) == wanted, (operator, text)
    # Any other value is compared with texts: a date is one.
    assert find(resource, admin, "gte", "2026-01-01") == [*ids[10:13], *ids[14:17]]
    assert find(resource, admin, "lt", "2026-12-31") == [ids[13], ids[16]]


@each_extensible
def test_an_order_by_an_attribute(resource: Resource, make: Make, admin: Client) -> None:
    """Numbers come first, then texts, then objects without it; a page after the other shows each once."""
    fill(resource, make)
    for sort, path in ((f"attributes.{KEY}", resource.path), (f"-attributes.{KEY}", resource.path)):
        query: Any = {"sort": sort, "page_size": 100}
        rows = admin.call("GET", path, query_string=query)["data"]
        values = [row["attributes"].get(KEY) for row in rows]
        if sort.startswith("-"):
            values.reverse()
        assert values[-1] is None
        numbers = [NUMBERS[VALUES.index(value)] for value in values[:10]]
        assert numbers == sorted(number for number in NUMBERS if number is not None)
        assert all(isinstance(value, str | bool) for value in values[10:-1])
        for size in (3, 4):
            seen, cursor = [], ""
            while cursor is not None:
                page = admin.call("GET", path, query_string={"sort": sort, "page_size": size, "cursor": cursor})
                seen += [row["id"] for row in page["data"]]
                cursor = page["pagination"]["next_cursor"]
            assert seen == [row["id"] for row in rows]
    both = admin.call("GET", resource.path, query_string={"sort": f"attributes.{KEY},-id", "page_size": 100})["data"]
    ties = [row["id"] for row in both if str(row["attributes"].get(KEY)) == "16"]
    assert all(one > other for one, other in pairwise(ties))
