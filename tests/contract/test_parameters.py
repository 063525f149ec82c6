"""Query parameters that are not understood are refused, and never dropped in silence."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from marshmallow import Schema, fields

from app.core.http.api import Parser
from app.resource import Resource
from app.resource.fields import Kind
from app.resource.json_fields import MAX_TEXT
from tests.backends import on_sqlite
from tests.client import Body, Client
from tests.contract.resources import each_readable, each_resource, kind_of, readable, varied_rows
from tests.contract.test_filters import operators_of
from tests.factories import Make
from tests.spread import any_database

pytestmark = any_database

BEYOND = ("9223372036854775808", "-9223372036854775809", "9" * 400)
"""Whole numbers of more than 64 bits."""

BAD_TIMES = ("x", "2026-01-31T25:00:00Z", "2026-01-31T08:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59")

ILL_TYPED: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("a%00b",),
    Kind.LIST: ("a%00b",),
    Kind.INTEGER: ("", "x", "1.5", "1e3", "0x10", "1_000", "٣", *BEYOND),
    Kind.REFERENCE: ("", "x", "1.5", *BEYOND),
    Kind.NUMBER: ("", "x", "nan", "inf", "-Infinity", "1e400", "1_0", "٣", "9" * 400),
    Kind.MONEY: ("", "x", "nan", "1.234", "1e3", "٣", "9" * 400),
    Kind.BOOLEAN: ("", "yes", "2", "null"),
    Kind.DATE: ("", "x", "2026-02-30", "20260131", "2026-1-1", "99999-01-01", "0000-01-01"),
    Kind.TIME: ("", *BAD_TIMES),
    Kind.CHOICE: ("", "nonsense", "0"),
}
"""Values that are no value of their kind, as they stand in a URL."""

ANYWHERE = ("%ED%A0%80", "%FF", "a%00")
"""What no parameter may hold: half of a surrogate pair, a byte that is no UTF-8, NUL."""


def refusal(client: Client, path: str) -> Body:
    """The data of the 400 that the request gets."""
    data: Body = client.call("GET", path, expect=400)["data"]
    return data


@each_readable
def test_an_unknown_parameter_is_refused(resource: Resource, admin: Client) -> None:
    for name in ("nonsense", "ID", "id ", "attributes", "password_hash", "__ne", "id__", "q__contains", "page__gt"):
        data = refusal(admin, f"{resource.path}?{name}=1")
        assert data["reason"] in ("unknown_parameter", "unknown_operator"), name


@each_readable
def test_a_misspelt_name_is_answered_with_the_nearest(resource: Resource, admin: Client) -> None:
    for name, field in readable(resource).items():
        misspelt = f"{name[:-1]}x{name[-1:]}"
        if operators_of(name, field):
            assert name in refusal(admin, f"{resource.path}?{misspelt}=1")["did_you_mean"]
        assert name in refusal(admin, f"{resource.path}?fields={misspelt}")["did_you_mean"]
    assert refusal(admin, f"{resource.path}?zzqq=zh")["did_you_mean"] == []
    data = refusal(admin, f"{resource.path}?pagesize=1")
    assert data.keys() == {"reason", "did_you_mean", "parameters", "errors", "problems"}
    assert data["reason"] == "unknown_parameter"
    assert "page_size" in data["did_you_mean"]
    data = refusal(admin, f"{resource.path}?sort=-creatd_at,id" if "created_at" in resource.fields else "?")
    assert (data["reason"], data["did_you_mean"][0]) == ("unknown_sort_column", "created_at")


@pytest.mark.parametrize(
    ("query", "parameter", "rule"),
    [
        ("statsu=active", "statsu", "unknown"),
        ("status__gtx=1", "status__gtx", "unknown"),
        ("sort=nmae", "sort", "unknown"),
        ("sort=name,-name", "sort", "invalid"),
        ("fields=nmae", "fields", "unknown"),
        ("with=childen", "with", "unknown"),
        ("attributes.nobody=1", "attributes.nobody", "unknown"),
        ("attributes.nobody__gt=1", "attributes.nobody__gt", "unknown"),
        ("sort=attributes.nobody", "sort", "unknown"),
        ("datacenter=nowhere", "datacenter", "unknown"),
        ("datacenter.nmae=a", "datacenter.nmae", "unknown"),
        ("datacenter.id__gt=a", "datacenter.id__gt", "type"),
        ("memory_gb__gt=a", "memory_gb__gt", "type"),
        ("memory_gb__gt=1&memory_gb__gt=2", "memory_gb__gt", "repeated"),
        ("internal_ip=nowhere", "internal_ip", "format"),
        ("page=0", "page", "range"),
        ("page=1&page=2", "page", "repeated"),
        ("total=some", "total", "choice"),
        ("page=1&cursor=", "cursor", "invalid"),
        ("cursor=forged", "cursor", "invalid"),
    ],
)
def test_each_error_names_its_parameter_and_the_rule(query: str, parameter: str, rule: str, admin: Client) -> None:
    data = refusal(admin, f"/api/servers?{query}")
    assert data["errors"].keys() == {parameter}
    (problem,) = data["problems"][parameter]
    assert data["errors"] == {parameter: [problem["message"]]}
    assert problem["rule"] == rule
    assert problem.get("did_you_mean") == data.get("did_you_mean")


@pytest.mark.parametrize(
    "path", ["/api/imports", "/api/servers", "/api/servers/facets", "/api/audit-logs", "/api/search"]
)
def test_an_unknown_parameter_has_one_shape_everywhere(path: str, admin: Client) -> None:
    data = refusal(admin, f"{path}?nonsense=1" + ("&fields=status" if path.endswith("facets") else ""))
    assert data["reason"] == "unknown_parameter"
    (problem,) = data["problems"]["nonsense"]
    assert (problem["rule"], problem["did_you_mean"]) == ("unknown", [])
    assert data["did_you_mean"] == []


@each_readable
def test_an_operator_that_a_field_lacks_is_refused(resource: Resource, admin: Client) -> None:
    known = ("ne", "in", "isnull", "gt", "gte", "lt", "lte", "contains", "startswith", "like", "regex")
    for name, field in readable(resource).items():
        valid = operators_of(name, field)
        for operator in known:
            if operator not in valid:
                data = refusal(admin, f"{resource.path}?{name}__{operator}=1")
                assert data["reason"] == ("unknown_operator" if valid else "unknown_parameter")
        if "contains" in valid:
            assert f"{name}__contains" in refusal(admin, f"{resource.path}?{name}__contain=1")["did_you_mean"]


@each_readable
def test_an_ill_typed_value_is_refused(resource: Resource, admin: Client) -> None:
    for name, field in readable(resource).items():
        for operator in operators_of(name, field):
            kind = Kind.BOOLEAN if operator == "isnull" else kind_of(name, field)
            # One reader serves all operators: a few values show that each of them asks it.
            values = (*ILL_TYPED[kind], *ANYWHERE) if operator in ("", "isnull") else ILL_TYPED[kind][-2:]
            for value in values:
                parameter = f"{name}__{operator}" if operator else name
                body = admin.call("GET", f"{resource.path}?{parameter}={value}", expect=400)
                assert body["data"]["reason"] == "invalid_parameter", (parameter, value)


def paging_mistakes() -> Iterator[str]:
    for name in ("page", "page_size"):
        for value in ("0", "-1", "x", "", "1.5", "9" * 30, "2147483649", *ANYWHERE):
            yield f"{name}={value}"
    yield from ("page_size=101", "total=", "total=some", "total=exact,none")
    yield from ("page=1&page=2", "page_size=1&page_size=1", "sort=id&sort=-id", "q=a&q=b", "total=none&total=none")
    yield from ("fields=", "fields=id,,version", "fields=id&fields=", "fields=nonsense", "fields=password_hash")
    yield from ("sort=nonsense", "sort=--id", "sort=id,-id", "sort=id desc", "sort=password_hash", "sort=id;drop")
    yield from (f"q={'x' * 201}", "q=a%00")
    yield from (f"{name}={value}" for name in ("q", "sort", "fields", "total") for value in ANYWHERE)


@each_readable
def test_mistakes_in_what_every_list_takes(resource: Resource, admin: Client) -> None:
    for query in paging_mistakes():
        assert refusal(admin, f"{resource.path}?{query}")["reason"], query


@each_readable
def test_a_misspelt_choice_is_answered_with_the_nearest(resource: Resource, admin: Client) -> None:
    for name, field in readable(resource).items():
        for value in [member.value for member in field.choices or () if len(member.value) > 3]:
            misspelt = f"{value[:-1]}x{value[-1:]}"
            for parameter in (name, f"{name}__ne", f"{name}__in"):
                data = refusal(admin, f"{resource.path}?{parameter}={misspelt}")
                assert data["did_you_mean"][0] == value, parameter
                (problem,) = data["problems"][parameter]
                assert (problem["rule"], problem["did_you_mean"]) == ("choice", data["did_you_mean"])
            assert refusal(admin, f"{resource.path}?{name}=zzqq")["did_you_mean"] == []


@each_readable
def test_a_single_order_or_pattern_is_given_once(resource: Resource, admin: Client) -> None:
    for operator, value in (("gt", "1"), ("lte", "2")):
        data = refusal(admin, f"{resource.path}?id__{operator}={value}&id__{operator}={value}")
        assert data["reason"] == "repeated_parameter"


@each_readable
def test_a_list_of_values_has_a_limit(resource: Resource, admin: Client) -> None:
    listed = ",".join(str(number) for number in range(1, 202))
    assert refusal(admin, f"{resource.path}?id__in={listed}")["reason"] == "too_many_values"
    assert admin.call("GET", f"{resource.path}?id__in={listed.removesuffix(',201')}")


HUGE: dict[Kind, tuple[str, ...]] = {
    Kind.INTEGER: ("2147483648", "9223372036854775807", "-2147483649", "-9223372036854775807"),
    Kind.REFERENCE: ("2147483648", "9223372036854775807", "-9223372036854775807"),
    Kind.MONEY: ("9999999999999.99", "-9999999999999.99"),
    Kind.NUMBER: ("999999999999999", "-999999999999999", "999999999999999.999999999999999"),
    Kind.DATE: ("0001-01-01", "9999-12-31"),
    Kind.TIME: ("0002-01-01T00:00:00Z", "9998-12-31T23:59:59.999999-23:59"),
}


@each_readable
def test_a_huge_value_finds_nothing(resource: Resource, make: Make, admin: Client) -> None:
    """Columns are narrower than what may be asked for; the database must not be asked to convert it."""
    varied_rows(resource, 3, make, admin)
    for name, field in resource.fields.items():
        for value in HUGE.get(field.kind, ()):
            # Once as one value, in an order where there is one, and once as one of several.
            order = {f"{name}__gt": value, f"{name}__lt": value} if "gt" in operators_of(name, field) else {}
            for query in ({name: value, **order}, {f"{name}__in": f"{value},{value}"}):
                body = admin.call("GET", resource.path, query_string={**query, "fields": "id"})
                assert body["data"] == [], query


@each_readable
def test_a_very_long_text_finds_nothing_or_is_refused(resource: Resource, make: Make, admin: Client) -> None:
    """SQLite takes no patterns of more than 50,000 bytes."""
    varied_rows(resource, 1, make, admin)
    name = next(name for name, field in readable(resource).items() if kind_of(name, field) is Kind.TEXT)
    for parameter in (name, f"{name}__contains", f"{name}__startswith"):
        for text in ("😀" * MAX_TEXT, "%" * MAX_TEXT):
            assert admin.call("GET", resource.path, query_string={parameter: text})["data"] == []
        too_long = {parameter: "x" * (MAX_TEXT + 1)}
        assert admin.call("GET", resource.path, query_string=too_long, expect=400)["data"]["reason"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@each_resource
def test_a_single_object_takes_no_parameters_that_it_does_not_know(
    resource: Resource, method: str, make: Make, admin: Client
) -> None:
    """Or a `dry_run` that is misspelt, or not there yet, would be carried out."""
    path = f"{resource.path}/{make(resource.model).id}"
    options: dict[str, Any] = {"json": {}} if method in ("PUT", "PATCH") else {}
    body = admin.call(method, f"{path}?nonsense=1", expect=400, **options)
    assert body["data"]["reason"] == "unknown_parameter"
    admin.call("GET", path)


@each_resource
def test_a_creation_takes_no_parameters_that_it_does_not_know(resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource)
    admin.call("POST", f"{resource.path}?nonsense=true", json=body, expect=400)
    admin.call("POST", resource.path, json=body, expect=201)


def test_other_views_name_the_nearest_parameters_too(admin: Client) -> None:
    for path, nearest in (("search?q=a&limt=1", "limit"), ("imports?pagesize=1", "page_size")):
        data = refusal(admin, f"/api/{path}")
        assert (data["reason"], data["did_you_mean"][0]) == ("unknown_parameter", nearest)


@pytest.mark.parametrize(
    ("path", "name", "nearest"),
    [
        ("/api/servers?wiht=can", "wiht", ["with"]),
        ("/api/servers/tree?levl=2", "levl", ["level"]),
        ("/api/servers/export?fromat=csv", "fromat", ["format"]),
        ("/api/search?q=a&typs=servers", "typs", ["types"]),
        ("/api/imports/1/rows?stat=error", "stat", ["status"]),
        ("/api/dashboard?x=1", "x", []),
    ],
)
def test_an_unknown_parameter_is_named_alike_everywhere(
    admin: Client, path: str, name: str, nearest: list[str]
) -> None:
    body = admin.call("GET", path, expect=400)
    assert body["data"]["reason"] == "unknown_parameter"
    assert body["data"]["did_you_mean"] == nearest
    assert body["data"]["errors"] == {name: [body["message"]]}
    assert body["message"].startswith(f"There is no parameter {name}.")
    (problem,) = body["data"]["problems"][name]
    assert (problem["rule"], problem["did_you_mean"]) == ("unknown", nearest)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/servers"), ("DELETE", "/api/views/1"), ("POST", "/api/imports/1/cancel")]
)
def test_what_every_write_takes_is_among_the_nearest(method: str, path: str, admin: Client) -> None:
    for misspelt, name in (("dryrun", "dry_run"), ("reasn", "reason")):
        refused = admin.call(method, f"{path}?{misspelt}=true", expect=400)["data"]
        assert (refused["reason"], refused["did_you_mean"][0]) == ("unknown_parameter", name)


def test_a_dry_run_is_true_or_false_and_asked_for_once(admin: Client) -> None:
    for query, reason in (
        ("dry_run=perhaps", "invalid_parameter"),
        ("dry_run=true&dry_run=false", "repeated_parameter"),
    ):
        refused = admin.call("POST", f"/api/auth/logout?{query}", expect=400)["data"]
        assert (refused["reason"], refused["errors"].keys()) == (reason, {"dry_run"})


@pytest.mark.parametrize(
    ("path", "name", "rule"),
    [
        ("/api/servers?lang=fr", "lang", "choice"),
        ("/api/health?lang=en&lang=zh", "lang", "choice"),
        ("/api/views?resource=serverz", "resource", "unknown"),
        ("/api/views?resource=,", "resource", "invalid"),
    ],
)
def test_a_bad_value_names_its_parameter(admin: Client, path: str, name: str, rule: str) -> None:
    data = refusal(admin, path)
    assert [each["rule"] for each in data["problems"][name]] == [rule]
    assert data["problems"].keys() == data["errors"].keys() == {name}


@on_sqlite
def test_a_default_that_is_computed_is_computed_for_each_request(app: Flask) -> None:
    numbers = itertools.count(1)
    schema = Schema.from_dict({"number": fields.Integer(load_default=lambda: next(numbers))})()
    for expected in (1, 2):
        with app.test_request_context("/"):
            assert Parser().parse(schema, location="query") == {"number": expected}
