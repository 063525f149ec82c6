"""Pages, their totals, their order, the keyword search and the choice of fields."""

from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask

from app.core.db.rules import is_folded, is_mac_address
from app.core.db.unit_of_work import db, reading, unit_of_work
from app.core.values import fold, natural_key
from app.resource import Resource
from app.resource.fields import Field, Kind
from app.resource.query import matches, select
from app.resource.query.searched_fields import is_searched, searched_values
from app.servers.models import Server
from tests.backends import on_postgresql
from tests.client import Body, Client
from tests.conftest import Statements
from tests.contract.resources import (
    RESOURCES,
    all_rows,
    each_readable,
    each_resource,
    is_by_name,
    kind_of,
    readable,
    value_in,
    varied_rows,
)
from tests.contract.test_filters import numeric
from tests.factories import Make
from tests.spread import spread

pytestmark = spread

UNSORTABLE = {Kind.LIST, Kind.OBJECTS, Kind.ATTRIBUTES, Kind.DOCUMENT}


def ids(body: Body) -> list[int]:
    return [row["id"] for row in body["data"]]


@each_readable
def test_pages_follow_each_other(resource: Resource, make: Make, admin: Client) -> None:
    expected = [row["id"] for row in varied_rows(resource, 5, make, admin)]
    total, pages = len(expected), -(-len(expected) // 2)
    for page in range(1, pages + 1):
        body = admin.call("GET", resource.path, query_string={"page": page, "page_size": 2})
        assert ids(body) == expected[2 * page - 2 : 2 * page]
        assert body["pagination"] == {"page": page, "page_size": 2, "total": total, "pages": pages}
    for past in (pages + 1, 2**31):
        body = admin.call("GET", resource.path, query_string={"page": past, "page_size": 2})
        assert body["data"] == []
        assert body["pagination"] == {"page": past, "page_size": 2, "total": total, "pages": pages}
    default = admin.call("GET", resource.path)
    assert default["pagination"] == {"page": 1, "page_size": 20, "total": total, "pages": 1}


@each_readable
def test_nothing_found_is_an_empty_first_page(resource: Resource, admin: Client) -> None:
    body = admin.call("GET", resource.path, query_string={"id": 2**40})
    assert body["data"] == []
    assert body["pagination"] == {"page": 1, "page_size": 20, "total": 0, "pages": 0}


@each_readable
def test_the_count_can_be_left_out(resource: Resource, make: Make, admin: Client, statements: Statements) -> None:
    expected = [row["id"] for row in varied_rows(resource, 3, make, admin)]
    with statements() as sent:
        body = admin.call("GET", resource.path, query_string={"total": "none"})
    assert ids(body) == expected
    assert body["pagination"] == {"page": 1, "page_size": 20, "total": None, "pages": None}
    assert not any("count(" in statement for statement in sent)
    exact = admin.call("GET", resource.path, query_string={"total": "exact"})
    assert exact["pagination"]["total"] == len(expected)


@each_resource
def test_counting_ends_somewhere_unless_all_is_asked_for(
    resource: Resource, make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matches, "MAX_TOTAL", 2)
    total = len(varied_rows(resource, 3, make, admin))
    page = {"page_size": 2}
    some = admin.call("GET", resource.path, query_string=page)["pagination"]
    assert some == {"page": 1, "page_size": 2, "total": 2, "pages": None, "at_least": True}
    walked = admin.call("GET", resource.path, query_string={**page, "cursor": ""})["pagination"]
    assert (walked["total"], walked["at_least"]) == (2, True)
    exact = admin.call("GET", resource.path, query_string={**page, "total": "exact"})["pagination"]
    assert exact == {"page": 1, "page_size": 2, "total": total, "pages": -(-total // 2)}
    # The end of the last page is the total, without counting.
    last = admin.call("GET", resource.path, query_string={"page_size": 100})["pagination"]
    assert last == {"page": 1, "page_size": 100, "total": total, "pages": 1}


@each_resource
def test_the_total_is_never_out_of_date(resource: Resource, make: Make, admin: Client) -> None:
    def total(path: str, **query: Any) -> int:
        count: int = admin.call("GET", path, query_string=query)["pagination"]["total"]
        return count

    before, records = total(resource.path), total("/api/audit-logs", resource_type=resource.name)
    created = admin.call("POST", resource.path, json=make.body(resource), expect=201)["data"]
    path = f"{resource.path}/{created['id']}"
    assert total(resource.path) == before + 1
    assert total("/api/audit-logs", resource_type=resource.name) >= records + 1
    assert total(resource.path, version=2) == 0
    label = resource.model.label
    admin.call("PATCH", path, json={label: make.value(resource.fields[label], 1)})
    assert total(resource.path, version=2) == 1
    records = total("/api/audit-logs", resource_type=resource.name)
    admin.call("DELETE", path)
    assert total(resource.path) == before
    assert total("/api/audit-logs", resource_type=resource.name) == records + 1


@each_resource
def test_a_page_is_read_once_and_never_out_of_date(
    resource: Resource, make: Make, admin: Client, statements: Statements
) -> None:
    created = admin.call("POST", resource.path, json=make.body(resource), expect=201)["data"]

    def listed() -> Body:
        return next(row for row in admin.call("GET", resource.path)["data"] if row["id"] == created["id"])

    with statements() as once:
        first = listed()
    with statements() as again:
        assert listed() == first
    assert len(again) == 1 < len(once), "The caller is looked up for each request."
    label = resource.fields[resource.model.label]
    admin.call("PATCH", f"{resource.path}/{created['id']}", json={label.name: make.value(label, 1)})
    assert listed()[label.name] == make.value(label, 1)
    for name, field in resource.references.items():
        target = next((each for each in RESOURCES if each.model is field.target), None)
        if target is None or first[name] is None or target.fields[target.model.label].read_only:
            continue
        renamed = make.value(target.fields[target.model.label], 2)
        admin.call("PATCH", f"{target.path}/{first[name]['id']}", json={target.model.label: renamed})
        assert listed()[name] == {"id": first[name]["id"], "name": renamed}


@each_readable
def test_the_number_of_statements_is_constant(
    resource: Resource, make: Make, admin: Client, statements: Statements
) -> None:
    """Neither the list nor the single object costs more where there is more."""

    def cost(path: str) -> list[str]:
        with statements() as sent:
            admin.call("GET", path)
        return sent

    first = varied_rows(resource, 2, make, admin)[0]["id"]
    few_listed, few_read = cost(f"{resource.path}?page_size=100"), cost(f"{resource.path}/{first}")
    assert len(varied_rows(resource, 18, make, admin)) >= 20
    many_listed, many_read = cost(f"{resource.path}?page_size=100"), cost(f"{resource.path}/{first}")
    # The log says before and after how its questions are to be planned.
    most = 6 if resource.name == "audit_logs" else 3
    assert len(many_listed) == len(few_listed) <= most
    assert len(many_read) == len(few_read) <= 2


@each_resource
def test_every_column_sorts_both_ways(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 7, make, admin)
    for name, field in readable(resource).items():
        if field.kind in UNSORTABLE:
            continue
        for sort in (name, f"-{name}"):
            body = admin.call("GET", resource.path, query_string={"sort": sort, "fields": "id"})
            assert ids(body) == in_order(rows, [(sort, field)]), sort


def test_very_many_objects_are_sorted_by_columns_with_an_index_only(
    make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("MAX_TOTAL", 1), ("MAX_SORTED", 3), ("MAX_SORTED_BY_KEY", 2)):
        monkeypatch.setattr(select, name, number)
    for n in range(4):
        make(Server, name=f"s{n}", disk_gb=n, cpu_model=f"x{n % 2}")
    for sort in ("name", "-datacenter", "status", "-status,-id", "name,disk_gb", "id", "-created_at"):
        assert len(admin.call("GET", f"/api/servers?sort={sort}")["data"]) == 4
    for query in (
        "sort=disk_gb",
        "sort=status,disk_gb",
        "sort=-cpu_model",
        "sort=cpu_model&cursor=",
        "sort=disk_gb&total=none",
    ):
        refused = admin.call("GET", f"/api/servers?{query}", expect=400)
        assert "too many to sort" in refused["message"]
        assert "warranty_expires" in refused["message"]
    assert len(admin.call("GET", "/api/servers?sort=disk_gb&name__ne=s0")["data"]) == 3
    assert len(admin.call("GET", "/api/servers?sort=cpu_model&disk_gb__lt=2")["data"]) == 2
    admin.call("GET", "/api/servers?sort=cpu_model&name__ne=s0", expect=400)
    # Few by their kind: never refused.
    admin.call("GET", "/api/environments?sort=description")


@each_resource
def test_several_columns_sort_one_after_the_other(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 7, make, admin)
    sortable = [(n, f) for n, f in readable(resource).items() if f.kind not in UNSORTABLE]
    for (first, one), (second, two) in pairwise(sortable):
        body = admin.call("GET", resource.path, query_string={"sort": f"-{first}, {second}"})
        assert ids(body) == in_order(rows, [(f"-{first}", one), (second, two)]), (first, second)


def in_order(rows: list[Body], columns: list[tuple[str, Field]]) -> list[int]:
    """The ids by these columns: what is absent comes last, first where the order descends.

    Ties are ordered by id, in the direction of the last column.
    """
    ordered = sorted(rows, key=lambda row: row["id"], reverse=columns[-1][0].startswith("-"))
    for sort, field in reversed(columns):
        name = sort.removeprefix("-")

        def key(row: Body, name: str = name, field: Field = field) -> tuple[bool, Any]:
            value = value_in(row, name, field)
            if value is not None and is_in_natural_order(name, field):
                return False, natural_key(value) if field.column.info.get("natural", True) else fold(value)
            return value is None, 0 if value is None else orderable(kind_of(name, field), value)

        # Python keeps ties in their order also when it reverses.
        ordered.sort(key=key, reverse=sort.startswith("-"))
    return [row["id"] for row in ordered]


def is_in_natural_order(name: str, field: Field) -> bool:
    """Whether a column holds texts that people write, or shows the names of other objects; not canonical forms."""
    if field.target is not None:
        return name == field.reads_as
    return field.kind is Kind.TEXT and is_folded(field.column) and not is_mac_address(field.column)


def orderable(kind: Kind, value: Any) -> Any:
    if kind is Kind.MONEY:
        return Decimal(value)
    return datetime.fromisoformat(value) if kind is Kind.TIME else numeric(value)


@each_readable
def test_a_keyword_is_looked_for_in_the_text_columns(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 7, make, admin)
    for name in (column.key for column in resource.search):
        for text in dict.fromkeys(str(row[name])[1:] for row in rows if row[name] is not None):
            body = admin.call("GET", resource.path, query_string={"q": f" {text.swapcase()} ", "sort": "id"})
            expected = [row["id"] for row in rows if mentions(resource, row, text)]
            assert ids(body) == expected, (name, text)
            assert body["pagination"]["total"] == len(expected)
    assert admin.call("GET", resource.path, query_string={"q": "nobody has this"})["data"] == []
    everything = admin.call("GET", resource.path, query_string={"q": " ", "sort": "id"})
    assert ids(everything) == [row["id"] for row in all_rows(resource, admin)]


def mentions(resource: Resource, row: Body, text: str) -> bool:
    """Whether the object has every word of the text, each in any of its fields."""
    if is_searched(resource):
        values = [searched.compared for searched in searched_values(resource, row)]
    else:
        values = [str(row[column.key]).lower() for column in resource.search if row[column.key] is not None]
    return all(any(word in value for value in values) for word in text.lower().split())


@pytest.mark.parametrize(
    "resource", [each for each in RESOURCES if "attributes" in each.fields], ids=lambda each: each.name
)
def test_a_keyword_is_looked_for_in_the_attributes(resource: Resource, make: Make, admin: Client) -> None:
    values = ["Zürich 100%", 8472, 0.125, True, None]
    created = [make(resource.model, attributes={"note": value}).id for value in values]
    for text, expected in (("ZÜRICH", 0), ("100%", 0), ("8472", 1), ("0.125", 2), ("true", 3)):
        assert ids(admin.call("GET", resource.path, query_string={"q": text})) == [created[expected]], text
    # Only the values are searched, not the names.
    assert ids(admin.call("GET", resource.path, query_string={"q": "note"})) == []


@each_resource
def test_wildcards_in_a_keyword_are_plain(resource: Resource, make: Make, admin: Client) -> None:
    varied_rows(resource, 2, make, admin)
    for text in ("%", "_", "\\", "%%", "'"):
        assert admin.call("GET", resource.path, query_string={"q": text})["data"] == [], text


@each_readable
def test_only_the_fields_that_are_asked_for(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 3, make, admin)
    names = list(readable(resource))
    for asked in (*([name] for name in names), names[:3], names[::2], names):
        body = admin.call("GET", resource.path, query_string={"fields": ",".join(asked), "sort": "id"})
        assert body["data"] == [{name: row[name] for name in asked} for row in rows], asked


def test_a_list_of_names_may_be_repeated_instead_of_separated(make: Make, admin: Client) -> None:
    """As some generated clients send it."""
    for name in "ab":
        make(Server, name=name)
    body = admin.call(
        "GET", "/api/servers?fields=name&fields=id&sort=status&sort=-name&status__in=active&status__in=retired"
    )
    assert [set(row) for row in body["data"]] == [{"id", "name"}] * 2
    assert [row["name"] for row in body["data"]] == ["b", "a"]


@each_readable
def test_an_unseen_column_still_sorts(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 5, make, admin)
    for name, field in resource.references.items():
        body = admin.call("GET", resource.path, query_string={"fields": "id", "sort": f"-{name}"})
        assert is_by_name(name, field)
        assert ids(body) == in_order(rows, [(f"-{name}", field)])


@each_readable
def test_a_row_of_the_list_is_the_object(resource: Resource, make: Make, admin: Client) -> None:
    for row in varied_rows(resource, 4, make, admin):
        assert admin.call("GET", f"{resource.path}/{row['id']}")["data"] == row


@on_postgresql
def test_ranges_are_planned_for_their_values(app: Flask, admin: Client) -> None:
    """PostgreSQL prepares what is sent often, and then uses one plan for all values: 30 times slower for a range."""
    with app.app_context():
        # Those of other tests have run other statements. One request after the other, they all use the same connection.
        db.engine.dispose()
    for number in range(30):
        admin.call("GET", f"/api/servers?memory_gb__gte=1&memory_gb__lte={number}")
        admin.call("GET", f"/api/servers?name__ne={number}")
        admin.call("GET", f"/api/servers?status=retired&name__ne={number}")
    with app.app_context(), reading():
        connection = unit_of_work().current_connection()
        prepared = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    assert not [text for text in prepared if "memory_gb >=" in text]
    assert [text for text in prepared if "FROM users" in text]
    # To plan a page anew costs more than to execute it.
    assert [text for text in prepared if "fold(servers.name) !=" in text]
    # Another status is another statement: that of many servers has another plan than that of a few.
    assert [text for text in prepared if "servers.status = 'retired'" in text]
