"""Every filter and every operator of every field finds exactly what it says."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.audit.models import AuditLog
from app.resource import Resource, ip_address, mac_address
from app.resource.fields import Field, Kind
from app.servers.models import Server
from tests.client import Client
from tests.contract.resources import (
    READABLE,
    RESOURCES,
    each_readable,
    is_by_name,
    kind_of,
    readable,
    value_in,
    varied_rows,
)
from tests.factories import Make, sample, writable_fields
from tests.spread import spread

pytestmark = spread

EQUALITY = ("", "ne", "in", "isnull")
ORDER = ("gt", "gte", "lt", "lte")
MATCHING = ("contains", "startswith")

OPERATORS = {
    Kind.TEXT: (*EQUALITY, *ORDER, *MATCHING),
    Kind.INTEGER: (*EQUALITY, *ORDER),
    Kind.NUMBER: (*EQUALITY, *ORDER),
    Kind.MONEY: (*EQUALITY, *ORDER),
    Kind.DATE: (*EQUALITY, *ORDER),
    Kind.TIME: (*EQUALITY, *ORDER),
    Kind.BOOLEAN: EQUALITY,
    Kind.CHOICE: EQUALITY,
    Kind.REFERENCE: EQUALITY,
    Kind.LIST: ("", "in", "all", "ne", "isnull"),
    Kind.OBJECTS: ("isnull",),
    Kind.DOCUMENT: ("isnull",),
    Kind.ATTRIBUTES: ("isnull",),
}


def operators_of(name: str, field: Field) -> tuple[str, ...]:
    if is_by_name(name, field):
        return (*EQUALITY, *MATCHING)
    return OPERATORS[field.kind]


@each_readable
def test_each_operator_of_each_field(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 7, make, admin)
    for name, field in readable(resource).items():
        kind = kind_of(name, field)
        for operator in operators_of(name, field):
            present = [value_in(row, name, field) for row in rows]
            for texts in values_to_try(operator, kind, field, present, must_exist=is_by_name(name, field)):
                parameter = f"{name}__{operator}" if operator else name
                expected = [row["id"] for row in rows if holds(operator, kind, value_in(row, name, field), texts)]
                assert filtered_ids(resource, admin, {parameter: texts}) == expected, (parameter, texts)


@each_readable
def test_several_filters_must_all_hold(resource: Resource, make: Make, admin: Client) -> None:
    rows = varied_rows(resource, 4, make, admin)
    last = rows[-1]
    given = {
        name: as_text(value_in(last, name, field))
        for name, field in resource.fields.items()
        if "in" in operators_of(name, field) and last[name] is not None and field.kind is not Kind.LIST
    }
    assert filtered_ids(resource, admin, given) == [last["id"]]
    assert filtered_ids(resource, admin, {**given, "id": str(rows[0]["id"])}) == []
    # The same field twice, under different operators.
    both = {"id__gt": str(rows[0]["id"]), "id__lt": str(last["id"])}
    assert filtered_ids(resource, admin, both) == [row["id"] for row in rows[1:-1]]


WILDCARDS = ("100%", "100x", "a_b", "aXb", "back\\slash", "back\\\\slash", "'quoted'", '"', "%", "_")


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_wildcards_are_plain_characters(resource: Resource, make: Make, admin: Client) -> None:
    name = plain_text_field(resource)
    ids = {text: make(resource.model, **{name: text}).id for text in WILDCARDS}
    for text in WILDCARDS:
        assert filtered_ids(resource, admin, {name: text}) == [ids[text]]
        for operator, holds_for in (("contains", str.__contains__), ("startswith", str.startswith)):
            expected = [identity for have, identity in ids.items() if holds_for(have, text)]
            assert filtered_ids(resource, admin, {f"{name}__{operator}": text}) == expected, (operator, text)


SCRIPTS = {
    "ÄRGER": "ärger",
    "ПРИВЕТ": "привет",
    "ΟΔΟΣ": "οδοσ",
    "İZMİR": "izmir",
    "数据中心": "数据中心",
    "ＦＵＬＬ": "ｆｕｌｌ",
}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_case_is_ignored_in_any_script(resource: Resource, make: Make, admin: Client) -> None:
    name = plain_text_field(resource)
    for upper, lower in SCRIPTS.items():
        identity = make(resource.model, **{name: upper}).id
        for text in (upper, lower):
            assert identity in filtered_ids(resource, admin, {name: text}), text
            assert identity in filtered_ids(resource, admin, {f"{name}__in": f"x,{text}"}), text
            assert identity not in filtered_ids(resource, admin, {f"{name}__ne": text}), text
            assert identity in filtered_ids(resource, admin, {f"{name}__contains": text[1:]}), text
            assert identity in filtered_ids(resource, admin, {f"{name}__startswith": text[:2]}), text


EXTENSIBLE = tuple(resource for resource in RESOURCES if "attributes" in resource.fields)


@pytest.mark.parametrize("resource", EXTENSIBLE, ids=lambda resource: resource.name)
def test_attributes_are_filtered_by_their_name(resource: Resource, make: Make, admin: Client) -> None:
    values = ["LS", "ls-2", "100%", 7, 2.5, True, False, None, "true", ""]
    key = "QoS (class) 1.0"
    ids = [make(resource.model, attributes={key: value}).id for value in values]
    ids.append(make(resource.model, attributes={}).id)
    have = [*(None if value is None else as_text(value).lower() for value in values), None]
    for operator in (*EQUALITY, *MATCHING):
        tried = ["true", "false"] if operator == "isnull" else ["Ls", "7", "2.5", "TRUE", "false", "%", "x"]
        for text in tried:
            expected = [
                identity for identity, value in zip(ids, have, strict=True) if holds(operator, Kind.TEXT, value, [text])
            ]
            parameter = f"attributes.{key}" + (f"__{operator}" if operator else "")
            assert filtered_ids(resource, admin, {parameter: text}) == expected, (operator, text)


def filtered_ids(resource: Resource, client: Client, filters: dict[str, Any]) -> list[int]:
    """The ids of the rows that a list with these filters shows, in order."""
    query = {**filters, "fields": "id", "sort": "id", "page_size": 100}
    body = client.call("GET", resource.path, query_string=query)
    ids = [row["id"] for row in body["data"]]
    assert body["pagination"]["total"] == len(ids), filters
    return ids


def plain_text_field(resource: Resource) -> str:
    """A text field of any content, that need not differ from row to row."""
    return next(
        name
        for name, field in reversed(writable_fields(resource).items())
        if field.kind is Kind.TEXT and field.check is None
    )


def values_to_try(
    operator: str, kind: Kind, field: Field, present: list[Any], *, must_exist: bool
) -> Iterator[list[str]]:
    """Parameters for a filter: values that are there, one that is not, and several at once."""
    if operator == "isnull":
        yield from (["true"], ["false"], ["1"], ["0"])
        return
    texts = list(dict.fromkeys(as_text(value) for value in flat(present)))[:2]
    if not (must_exist and operator in ("", "ne", "in")):
        texts.append(as_text(absent(kind, field)))
    if not texts:
        return
    if kind is Kind.TIME:
        # A date stands for its whole day; the days before and after show that it ends.
        texts = [*texts[-2:], *days_around(texts[0])]
    if operator in ("in", "all"):
        yield from ([",".join(texts)], [texts[0], texts[-1]])
        return
    for text in texts:
        if operator == "contains":
            yield [text[1:-1].swapcase() or text]
        elif operator == "startswith":
            yield [text[:3].swapcase()]
        else:
            yield [text.swapcase() if kind is Kind.TEXT else text]
    if operator in ("", "ne"):
        yield [texts[0], texts[-1]]
        yield from ([""], ["", texts[0]]) if kind in (Kind.TEXT, Kind.LIST) else ()


def days_around(time: str) -> list[str]:
    day = datetime.fromisoformat(time).date()
    return [str(day + timedelta(days)) for days in (-1, 0, 1)]


ADDRESSES = (ip_address, mac_address)
VALID_NAMES = {"action": "unlock", "resource_type": "audit_logs"}
"""Of the audit log; a name that is not valid is refused."""


def absent(kind: Kind, field: Field) -> Any:
    """A value that no row has, or any where there are only a few."""
    if kind is Kind.REFERENCE:
        return 2**40
    if field.column.table is AuditLog.__table__ and field.name in VALID_NAMES:
        return VALID_NAMES[field.name]
    if kind in (Kind.TEXT, Kind.LIST) and field.check not in ADDRESSES:
        return "nobody has this"
    return sample(field, 77_777)


def flat(values: list[Any]) -> Iterator[Any]:
    """The values that there are, and the members of those that are lists."""
    for value in values:
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def holds(operator: str, kind: Kind, have: Any, texts: list[str]) -> bool:
    """Whether a row with this value is to be found: the contract, said once more, in Python."""
    if operator == "isnull":
        return (have in (None, [], {})) == (texts[0] in ("true", "1"))
    if operator in ("in", "all"):
        texts = [part for text in texts for part in text.split(",")]
    if "" in texts:
        # No value is among the values.
        rest = [text for text in texts if text]
        empty, other = have in (None, []), bool(rest) and holds(operator, kind, have, rest)
        return (other or not rest) and not empty if operator == "ne" else other or empty
    if kind is Kind.LIST:
        return holds_of_members(operator, {member.lower() for member in have}, [text.lower() for text in texts])
    return holds_of_value(operator, kind, have, texts)


def holds_of_members(operator: str, members: set[str], texts: list[str]) -> bool:
    return members.issuperset(texts) if operator == "all" else members.isdisjoint(texts) == (operator == "ne")


def holds_of_value(operator: str, kind: Kind, have: Any, texts: list[str]) -> bool:
    if have is None:
        return operator == "ne"
    pairs = [compared(kind, as_text(have), text) for text in texts]
    value, wanted = pairs[0]
    match operator:
        case "" | "in":
            return any(value == wanted for value, wanted in pairs)
        case "ne":
            return all(value != wanted for value, wanted in pairs)
        case "contains":
            return wanted in value
        case "startswith":
            return bool(value.startswith(wanted))
    value, wanted = numeric(value), numeric(wanted)
    order = {"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted}
    return bool(order.get(operator, value <= wanted))


def numeric(value: Any) -> Any:
    """An IP address as it is ordered; any other value as it is."""
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return value if address is None else (address.version, int(address))


def compared(kind: Kind, have: str, text: str) -> tuple[Any, Any]:
    """A row's value and the one that is asked for, as they are compared: a time with a date by its day in UTC."""
    if kind is Kind.TIME and len(text) == len("2026-01-31"):
        return datetime.fromisoformat(have).astimezone(UTC).date(), date.fromisoformat(text)
    return comparable(kind, have), comparable(kind, text)


def comparable(kind: Kind, text: str) -> Any:
    match kind:
        case Kind.TEXT | Kind.LIST:
            return text.lower()
        case Kind.INTEGER | Kind.REFERENCE:
            return int(text)
        case Kind.NUMBER:
            return float(text)
        case Kind.MONEY:
            return Decimal(text)
        case Kind.DATE:
            return date.fromisoformat(text)
        case Kind.TIME:
            return datetime.fromisoformat(text)
    return text


def test_the_audit_log_is_among_what_is_read() -> None:
    assert {"audit_logs"} == {resource.name for resource in READABLE} - {r.name for r in RESOURCES}


@pytest.mark.parametrize("text", ["Café 7%", "机柜 中文", "true", "a\\b_c", "x  y", "ｅｄｇｅ"])
def test_a_part_of_a_text_is_found_in_any_form(text: str, make: Make, admin: Client) -> None:
    """The search table, in which it is looked for first, has ideographs apart and all fields of an object together."""
    server_id = make(Server, name=f"one {text} more", attributes={"note": f"({text})", "whole": text}).id
    make(Server, name="other", description=text, attributes={"other": text})
    part = text.swapcase()
    for query in ({"name__contains": part}, {"attributes.note__contains": part}, {"attributes.whole": part}):
        assert [row["id"] for row in admin.call("GET", "/api/servers", query_string=query)["data"]] == [server_id], (
            query
        )
    for query in ({"name__contains": f"{part}?"}, {"attributes.whole": f"{part}?"}):
        assert admin.call("GET", "/api/servers", query_string=query)["data"] == []


def test_a_text_is_the_same_in_any_case_and_form(make: Make, admin: Client) -> None:
    ids = [make(Server, owner=owner).id for owner in ("Team 007", "team 007", "ｔｅａｍ 007")]
    make(Server, owner="team 7")
    for path in ("/api/servers?owner=TEAM 007", "/api/servers?owner=TEAM 007&owner=nobody"):
        assert [row["id"] for row in admin.call("GET", path)["data"]] == ids
