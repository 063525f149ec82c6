"""What a body may hold: every bad field is named, all at once, and nothing of a refused body is kept."""

import json
import re
from typing import Any

import pytest

from app.resource import Resource
from app.resource.fields import Field, Kind
from app.resource.json_fields import MAX_ITEMS, MAX_TEXT
from tests.client import Body, Client
from tests.contract.resources import RESOURCES, all_rows, each_resource
from tests.factories import UNMADE, Make, optional_fields, sample, validation_errors, writable_fields
from tests.spread import any_database

pytestmark = any_database

WRONG_TYPES: dict[Kind, tuple[Any, ...]] = {
    Kind.TEXT: (1, 1.5, True, [], {}, ["text"]),
    Kind.INTEGER: ("1", 1.5, True, [], {}, 2**31, -(2**31) - 1, 2**63, 10**30, 1e300),
    Kind.REFERENCE: ("1", 1.5, True, [], {}, 0, -1, 2**63, 10**30),
    Kind.NUMBER: ("1", True, [], {}, 1e12, -1e12, 10**30, 1e300),
    Kind.MONEY: (True, "x", [], {}, "-0.01", "1.234", "1e3", "NaN", "Infinity", "1,000.00", "9" * 14, "٣"),
    Kind.BOOLEAN: (1, 0, "true", "yes", [], {}),
    Kind.DATE: (1, True, "x", [], {}, "2026-02-30", "20260131", "2026-1-1", "2026-W05-6", "2026-01-31T00:00:00Z"),
    Kind.CHOICE: (1, True, "nonsense", [], {}, ["active"]),
    Kind.LIST: (1, "x", {}, [1], [None], [[]], [""], ["x" * 256], ["x"] * (MAX_ITEMS + 1)),
    Kind.OBJECTS: (1, "x", {}, [1], [None], [[]], [{}], [{"nonsense": 1}]),
    Kind.ATTRIBUTES: (1, "x", [], {"": 1}, {"a\x00": 1}, {"k": []}, {"k": {}}, {"k": "a\x00"}, {"k" * 65: 1}),
}
"""Values that are no value of their kind."""

UNREADABLE = (
    b"",
    b"{",
    b'{"name": }',
    b"{'name': 1}",
    b'{"name": NaN}',
    b'{"name": Infinity}',
    b'{"name": "\xff"}',
    b'{"name": "\\ud800"}',
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"name": ' + b"9" * 100_000 + b"x}",
)


def errors_of(client: Client, method: str, path: str, body: Body) -> dict[str, list[str]]:
    """What is wrong with which field of a body that must be refused."""
    data = client.call(method, path, json=body, expect=422)["data"]
    assert data["reason"] == "invalid"
    errors: dict[str, list[str]] = data["errors"]
    assert all(text and text[0].isupper() and text.endswith(".") for texts in errors.values() for text in texts), errors
    return errors


def is_named(name: str, errors: dict[str, list[str]]) -> bool:
    """Whether a field, or something inside of it, is among the errors."""
    return any(field == name or field.startswith(f"{name}.") for field in errors)


@each_resource
def test_what_is_written_is_read(resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource, full=True)
    created = admin.call("POST", resource.path, json=body, expect=201)["data"]
    for name in writable_fields(resource):
        assert created[name] == body.get(name, created[name])
        assert name in created
    assert admin.call("GET", f"{resource.path}/{created['id']}")["data"] == created


@each_resource
def test_defaults_and_what_is_left_out(resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource)
    created = admin.call("POST", resource.path, json=body, expect=201)["data"]
    for name, field in writable_fields(resource).items():
        if name not in body:
            assert (created[name] is None) == field.nullable, name


@each_resource
def test_where_the_new_object_is(resource: Resource, make: Make, admin: Client) -> None:
    response = admin.send("POST", resource.path, json=make.body(resource), expect=201)
    created = admin.call("GET", response.headers["Location"])["data"]
    assert created == response.json["data"]  # type: ignore[index]


@each_resource
def test_a_value_of_another_type_is_refused(resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource, full=True)
    path = f"{resource.path}/{make(resource.model).id}"
    for name, field in writable_fields(resource).items():
        wrong = list(WRONG_TYPES[field.kind])
        if field.kind is Kind.ATTRIBUTES:
            # Null removes all of them.
            wrong.append("")
        elif not field.nullable:
            wrong += [None] if field.kind is Kind.TEXT else [None, ""]
        # One schema reads both: a value or two show that a creation asks it too.
        for value in wrong[:2]:
            assert is_named(name, errors_of(admin, "POST", resource.path, {**body, name: value})), (name, value)
        for value in wrong:
            assert is_named(name, errors_of(admin, "PATCH", path, {name: value})), (name, value)
    assert admin.call("GET", path)["data"]["version"] == 1


@each_resource
def test_every_bad_field_is_reported_at_once(resource: Resource, make: Make, admin: Client) -> None:
    body = {name: WRONG_TYPES[field.kind][0] for name, field in writable_fields(resource).items()}
    body |= {"nonsense": 1, "version": 7}
    for method, path in (("POST", resource.path), ("PATCH", f"{resource.path}/{make(resource.model).id}")):
        errors = errors_of(admin, method, path, body)
        assert not [name for name in body if not is_named(name, errors)]


@pytest.mark.parametrize("resource", [each for each in RESOURCES if each.model.checks], ids=lambda each: each.name)
def test_a_broken_rule_is_reported_with_invalid_fields(resource: Resource, make: Make, admin: Client) -> None:
    for rule in resource.model.checks:
        if writable_fields(resource).keys().isdisjoint(rule.fields):
            continue
        full = {name: make.value(field, 1) for name, field in writable_fields(resource).items()}
        for body in (full, make.body(resource), {**full, "status": "assigned"}):
            broken = errors_of(admin, "POST", resource.path, body) if validation_errors(resource, body) else {}
            if rule.message in {text for texts in broken.values() for text in texts}:
                break
        else:
            raise AssertionError(f"None of the bodies breaks {rule.name}.")
        errors = errors_of(admin, "POST", resource.path, {**body, "description": 1, "nonsense": 1})
        assert errors == {**broken, "description": errors["description"], "nonsense": ["Unknown field."]}
        for name in rule.fields:
            # Nothing is known about a rule of which a field is invalid.
            assert rule.message not in errors_of(admin, "POST", resource.path, {**body, name: []})[name]


@each_resource
def test_an_unknown_field_is_refused_by_name(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name in ("nonsense", "Name", "__class__", "is_admin", "password_hash", "password_version", "_id", ""):
        for method, target in (("POST", resource.path), ("PUT", path), ("PATCH", path)):
            errors = errors_of(admin, method, target, {**make.body(resource), name: 1})
            assert errors[name or "_schema"] == ["Unknown field."]


@each_resource
def test_what_only_the_application_sets_is_refused_by_name(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    read_only = [name for name, field in resource.fields.items() if field.read_only]
    assert {"id", "version", "created_at", "updated_at", "created_by_id"} <= set(read_only)
    for name in (*read_only, *resource.references):
        for method, target in (("POST", resource.path), ("PUT", path), ("PATCH", path)):
            errors = errors_of(admin, method, target, {**make.body(resource), "nonsense": 1, name: "another"})
            assert set(errors) == {name, "nonsense"}
            assert "read-only" in errors[name][0]
    stored = admin.call("GET", path)["data"]
    assert (stored["version"], stored["created_by_id"]) == (1, None)


def send_back(client: Client, method: str, path: str, body: Body, expect: int = 200) -> Body:
    """Send a body with what is only read, which the document leaves out of bodies."""
    return client.call(method, path, data=json.dumps(body), content_type="application/json", expect=expect)


@each_resource
def test_what_was_read_may_be_sent_back(resource: Resource, make: Make, admin: Client) -> None:
    """A form sends what it read."""
    path = f"{resource.path}/{make.varied(resource.model, 2).id}"
    read = admin.call("GET", path)["data"]
    for method in ("PUT", "PATCH"):
        assert send_back(admin, method, path, read)["data"] == read
    answer = send_back(admin, "PATCH", f"{resource.path}/bulk", {"items": [read]})
    assert answer["data"]["results"][0]["data"] == read
    label = resource.model.label
    renamed = {**read, label: make.body(resource)[label]}
    assert send_back(admin, "PATCH", path, renamed)["data"][label] == renamed[label]
    # What was read before is no longer as it is now.
    assert set(errors_of(admin, "PATCH", path, read)) == {"version", "updated_at"}


@each_resource
def test_a_changed_read_only_field_is_refused_with_all_others(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make.varied(resource.model, 2).id}"
    read = admin.call("GET", path)["data"]
    unwritable = read.keys() - writable_fields(resource).keys()
    # What was null when it was read may have been set since without a new version: a login, a lock.
    bookkeeping = {name for name, field in resource.fields.items() if field.column.info.get("audit") is False}
    for name in unwritable:
        for value in ("another", None, 1.5, True, [], {"id": 1}):
            if value == read[name] or (value is None and name in bookkeeping):
                continue
            errors = errors_of(admin, "PATCH", path, {**read, name: value, "nonsense": 1, resource.model.label: 7})
            assert set(errors) == {name, "nonsense", resource.model.label}
            assert "read-only" in errors[name][0]
            item = {**read, name: value, "nonsense": 1}
            refused = admin.call("PATCH", f"{resource.path}/bulk", json={"items": [item]}, expect=422)
            error = refused["data"]["results"][0]["error"]["data"]
            # The id of an item says which object it is about.
            assert name == "id" or set(error["errors"]) == {name, "nonsense"}
    body = {"filter": {"id": read["id"]}, "expected_count": 1, "set": {"version": read["version"]}}
    refused = admin.call("PATCH", f"{resource.path}/bulk", json=body, expect=422)
    assert list(refused["data"]["errors"]) == ["set.version"]
    assert admin.call("GET", path)["data"] == read


@each_resource
def test_a_required_field_cannot_be_left_out_or_emptied(resource: Resource, make: Make, admin: Client) -> None:
    required = [name for name, field in writable_fields(resource).items() if field.required]
    body = make.body(resource)
    path = f"{resource.path}/{make(resource.model).id}"
    assert required
    assert set(required) <= set(errors_of(admin, "POST", resource.path, {}))
    for name in required:
        without = {key: value for key, value in body.items() if key != name}
        assert name in errors_of(admin, "POST", resource.path, without)
        for empty in (None, "", " \t\n"):
            assert is_named(name, errors_of(admin, "POST", resource.path, {**body, name: empty}))
            assert is_named(name, errors_of(admin, "PATCH", path, {name: empty}))


@each_resource
def test_empty_text_is_null_in_every_kind_of_field(resource: Resource, make: Make, admin: Client) -> None:
    """A form sends empty text for each field that is not filled in."""
    path = f"{resource.path}/{make(resource.model, full=True).id}"
    for name in optional_fields(resource):
        null, empty, blank = (
            admin.call("PATCH", f"{path}?dry_run=true", json={name: value}, expect=(200, 422))
            for value in (None, "", " \t\n")
        )
        assert same_answer(empty, null), name
        assert same_answer(blank, null), name
    left_empty = dict.fromkeys(optional_fields(resource), "")
    body = {name: value for name, value in make.body(resource).items() if value is not None}
    created = admin.call("POST", resource.path, json={**left_empty, **body}, expect=201)["data"]
    assert {name for name in left_empty if created[name] is not None} <= body.keys()


def same_answer(one: Body, other: Body) -> bool:
    """Whether two answers are the same but for the time at which they were given."""
    return {**one, "data": {**one["data"], "updated_at": 0}} == {**other, "data": {**other["data"], "updated_at": 0}}


@each_resource
def test_a_whole_number_may_be_written_with_a_fraction_of_zero(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name, field in writable_fields(resource).items():
        if field.kind in (Kind.INTEGER, Kind.REFERENCE):
            value = make.value(field, 4711)
            asked = [
                admin.call("PATCH", f"{path}?dry_run=true", json={name: number}, expect=(200, 422))
                for number in (value, float(value))
            ]
            assert same_answer(*asked), name
            for number in (1.5, 2.0**53, -(2.0**53), 1e300):
                assert is_named(name, errors_of(admin, "PATCH", path, {name: number}))


def texts(resource: Resource) -> dict[str, Field]:
    return {name: field for name, field in writable_fields(resource).items() if field.kind is Kind.TEXT}


@each_resource
def test_text_is_trimmed_and_empty_text_is_null(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name, field in texts(resource).items():
        value = sample(field, UNMADE)
        changed = admin.call("PATCH", path, json={name: f" \t{value}\n"})["data"]
        assert changed[name] == value
        if field.nullable:
            for empty in ("", " \t\n"):
                admin.call("PATCH", path, json={name: value})
                assert admin.call("PATCH", path, json={name: empty})["data"][name] is None


@each_resource
def test_text_has_a_length(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name, field in texts(resource).items():
        longest = field.length or MAX_TEXT
        for too_long in ("x" * (longest + 1), "長" * (longest + 1), "x" * 1_000_000):
            assert is_named(name, errors_of(admin, "PATCH", path, {name: too_long})), name
        if field.check is None:
            for fits in ("長" * longest, " " * 100 + "x" * longest):
                assert admin.call("PATCH", path, json={name: fits})["data"][name] == fits.strip()


@each_resource
def test_text_that_the_databases_cannot_hold_is_refused(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name in texts(resource):
        assert is_named(name, errors_of(admin, "PATCH", path, {name: "a\x00b"}))
        # Half of a surrogate pair is no JSON.
        admin.call("PATCH", path, data=f'{{"{name}": "\\udc80"}}', content_type="application/json", expect=400)


@each_resource
def test_text_of_any_language_comes_back_as_it_was(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    name = [name for name, field in texts(resource).items() if field.check is None][-1]
    for text in (
        "数据中心",
        "é ê",
        "😀",
        "a\u200bb",
        "<script>alert(1)</script>",
        "'; DROP TABLE users; --",
        "=1+1",
    ):
        assert admin.call("PATCH", path, json={name: text})["data"][name] == text
    # Two spellings of one text are stored as one.
    assert admin.call("PATCH", path, json={name: "e\u0301"})["data"][name] == "é"


@each_resource
def test_numbers_keep_within_their_bounds(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name, field in writable_fields(resource).items():
        if field.kind not in (Kind.INTEGER, Kind.NUMBER):
            continue
        assert field.minimum is not None
        assert field.maximum is not None
        for value in (field.minimum, field.maximum):
            assert admin.call("PATCH", path, json={name: value})["data"][name] == value
        for value in (field.minimum - 1, field.maximum + 1):
            assert is_named(name, errors_of(admin, "PATCH", path, {name: value}))
        if field.kind is Kind.NUMBER:
            # Three decimals are stored, and shown at once.
            assert admin.call("PATCH", path, json={name: 0.12349})["data"][name] == 0.123
            assert admin.call("GET", path)["data"][name] == 0.123


@each_resource
def test_numbers_beyond_all_bounds(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for name, field in writable_fields(resource).items():
        if field.kind in (Kind.INTEGER, Kind.NUMBER, Kind.REFERENCE):
            for number in ("1e999", "-1e999", "9" * 5000, "0." + "9" * 5000):
                patch_text(
                    admin, path, f'{{"{name}": {number}}}', expect=(400, 422) if number[0] != "0" else (200, 422)
                )


def patch_text(client: Client, path: str, text: str, expect: int | tuple[int, ...]) -> None:
    client.call("PATCH", path, data=text, content_type="application/json", expect=expect)


@each_resource
def test_enumerations_take_each_of_their_values(resource: Resource, make: Make, admin: Client) -> None:
    for name, field in writable_fields(resource).items():
        for member in field.choices or ():
            body = {**make.body(resource), name: member.value}
            if validation_errors(resource, body):
                assert is_named(name, errors_of(admin, "POST", resource.path, body))
            else:
                created = admin.call("POST", resource.path, json=body, expect=201)["data"]
                assert created[name] == member.value
            for other in (member.value.upper(), member.name, *member.aliases):
                if other not in [each.value for each in field.choices or ()]:
                    assert is_named(name, errors_of(admin, "POST", resource.path, {**body, name: other}))


@each_resource
def test_a_reference_to_nothing_is_refused_by_name(resource: Resource, make: Make, admin: Client) -> None:
    for name, field in writable_fields(resource).items():
        if field.kind is Kind.REFERENCE:
            body = make.body(resource, **{name: 987_654_321})
            assert is_named(name, errors_of(admin, "POST", resource.path, body))


@each_resource
def test_an_optional_field_can_be_cleared(resource: Resource, make: Make, admin: Client) -> None:
    stored = make(resource.model, full=True)
    path = f"{resource.path}/{stored.id}"
    for name in optional_fields(resource):
        before = admin.call("GET", path)["data"][name]
        # It is refused where the object as a whole needs it: a service has one parent.
        code = admin.call("PATCH", path, json={name: None}, expect=(200, 422))["code"]
        assert admin.call("GET", path)["data"][name] == (before if code else None), name


@pytest.mark.parametrize(
    "resource", [each for each in RESOURCES if "attributes" in each.fields], ids=lambda each: each.name
)
def test_attributes(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model).id}"
    for attributes in ({}, {"K (a) %/+#-_.": "x"}, {"数据": "中心", "n": 1.5, "t": True, "big": -(2**53)}):
        admin.call("PATCH", path, json={"attributes": None})
        assert admin.call("PATCH", path, json={"attributes": attributes})["data"]["attributes"] == attributes
    admin.call("PATCH", path, json={"attributes": None})
    assert admin.call("PATCH", path, json={"attributes": {" k ": "  x "}})["data"]["attributes"] == {"k": "x"}
    twice = errors_of(admin, "PATCH", path, {"attributes": {"k": 1, " k": 2}})
    assert is_named("attributes", twice)
    admin.call("PATCH", path, json={"attributes": None})
    many = {f"k{number}": number for number in range(64)}
    assert admin.call("PATCH", path, json={"attributes": many})["data"]["attributes"] == many
    for refused in ('{"k": "%s"}' % ("x" * (MAX_TEXT + 1)), '{"k": 1e999}', '{"k": -1e999}', '{"k": NaN}'):
        patch_text(admin, path, f'{{"attributes": {refused}}}', expect=(400, 422))
    assert is_named("attributes", errors_of(admin, "PATCH", path, {"attributes": {**many, "k64": 64}}))
    assert admin.call("GET", path)["data"]["attributes"] == many


def test_unreadable_json(admin: Client) -> None:
    for resource in RESOURCES:
        for data in UNREADABLE:
            options = {"data": data, "content_type": "application/json", "expect": 400}
            assert admin.call("POST", resource.path, **options)["data"]["reason"] == "bad_json", data[:40]


@each_resource
def test_a_name_that_is_there_twice_is_refused(resource: Resource, make: Make, admin: Client) -> None:
    path, label = f"{resource.path}/{make(resource.model).id}", resource.model.label
    before = all_rows(resource, admin)
    body = json.dumps(make.body(resource))
    for method, target, text, name in (
        ("POST", resource.path, f'{body[:-1]}, "{label}": "a: b"}}', label),
        ("PATCH", path, '{"version": 1, "description": "a", "version": 1}', "version"),
        ("PATCH", path, '{"is_active": true, "is\\u005factive": false}', "is_active"),
        ("POST", f"{resource.path}/bulk", f'{{"items": [{body}, {body[:-1]}, "x": 1, "x": 1}}]}}', "x"),
        ("DELETE", f"{resource.path}/bulk", '{"filter": {"id": 1, "id": 2}, "expected_count": 1}', "id"),
    ):
        refused = admin.call(method, target, data=text, content_type="application/json", expect=400)["data"]
        assert (refused["reason"], list(refused["errors"])) == ("bad_json", [name])
        assert refused["problems"][name][0]["rule"] == "repeated"
    assert all_rows(resource, admin) == before


def test_a_body_that_is_no_object(make: Make, admin: Client) -> None:
    for resource in RESOURCES:
        path = f"{resource.path}/{make(resource.model).id}"
        for data in (b"null", b"[]", b"[{}]", b'"x"', b"1", b"true"):
            for method, target in (("POST", resource.path), ("PATCH", path), ("PUT", path)):
                options = {"data": data, "content_type": "application/json", "expect": 422}
                assert admin.call(method, target, **options)["data"]["errors"]


def test_another_content_type(make: Make, admin: Client) -> None:
    for resource in RESOURCES:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", None):
            refused = admin.call("POST", resource.path, data=b"{}", content_type=kind, expect=415)
            assert refused["data"]["reason"] == "unsupported_media_type"
        body = make.body(resource)
        kind = "application/json; charset=utf-8"
        admin.call("POST", resource.path, data=json.dumps(body), content_type=kind, expect=201)


def test_a_body_that_is_too_large(admin: Client) -> None:
    for resource in RESOURCES:
        larger = {"CONTENT_LENGTH": str(admin.app.config["MAX_CONTENT_LENGTH"] + 1)}
        options = {"data": b"{}", "content_type": "application/json", "environ_overrides": larger}
        assert admin.call("POST", resource.path, expect=413, **options)["data"]["reason"] == "too_large"


@each_resource
def test_a_refused_body_leaves_nothing(resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource)
    before = all_rows(resource, admin)
    errors_of(admin, "POST", resource.path, {**body, "nonsense": 1})
    assert all_rows(resource, admin) == before


WRITTEN = {
    Kind.TIME: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z",
    Kind.DATE: r"\d{4}-\d\d-\d\d",
    Kind.MONEY: r"\d+\.\d\d",
}
"""How values of these kinds are written: times in UTC, and money as decimals in a text."""


@each_resource
def test_times_dates_and_money_are_written_in_one_way(resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource, full=True)
    created = admin.call("POST", resource.path, json=body, expect=201)["data"]
    shown = {name: field.kind for name, field in resource.fields.items() if field.kind in WRITTEN and name in created}
    assert {"created_at", "updated_at"} <= shown.keys()
    for name, kind in shown.items():
        assert created[name] is None or re.fullmatch(WRITTEN[kind], created[name]), (name, created[name])


@each_resource
def test_a_field_of_ten_megabytes_is_refused_by_name(resource: Resource, make: Make, admin: Client) -> None:
    name = resource.model.label
    assert is_named(name, errors_of(admin, "POST", resource.path, {**make.body(resource), name: "x" * 10_000_000}))
