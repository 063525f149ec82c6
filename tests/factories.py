"""Factories of valid values, bodies and objects of every resource, derived from its declaration."""

import functools
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import marshmallow
from flask import Flask
from marshmallow import validate

from app.catalog import CATALOG
from app.core.db.rules import unique_rules
from app.core.db.unit_of_work import act_in, db
from app.core.request_context import RequestContext
from app.core.values import as_json
from app.resource import Resource
from app.resource.fields import Field, Kind
from tests.client import PASSWORD

M = TypeVar("M")
Json = Any

ORIGIN = RequestContext(request_id="made-by-the-tests", username="the tests")

RESOURCE_OF: Mapping[type[Any], Resource] = {resource.model: resource for resource in CATALOG.values()}

_numbers = itertools.count(1)


class Make:
    """Stores objects, committed and audited: `make(Server, name="a")`. Other required fields are filled in."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def __call__(self, model: type[M], /, *, full: bool = False, **values: Any) -> M:
        """A new object with these attributes; with `full`, every writable field has a value."""
        resource = RESOURCE_OF[model]
        writable = writable_fields(resource)
        given = {name: as_json(value) for name, value in values.items() if name in writable}
        unwritable = {name: value for name, value in values.items() if name not in writable}
        body = self._fill(resource, given, unwritable, full=full)
        with self.app.app_context():
            loaded = schema_of(resource).load(body)
            act_in(ORIGIN)
            target = model(**{**loaded, **values})
            db.session.add(target)
            db.session.commit()
        return target

    def body(
        self, resource: Resource, *, full: bool = False, below: int | None = None, **values: Json
    ) -> dict[str, Json]:
        """The body of a valid creation, with the required fields, or with `full` all of them.

        A parent that it names is new, and belongs to the user `below`.
        """
        return self._fill(resource, values, {}, full=full, below=below)

    def varied(self, model: type[M], k: int) -> M:
        """The k-th of several objects that differ.

        Every third value is absent, others come in pairs that are equal but for their case, and every third object
        has values in the fields that only the application sets.
        """
        resource = RESOURCE_OF[model]
        unwritable = self._unwritable(resource, k) if k % 3 == 2 else {}
        body = self._fill(resource, {}, unwritable, full=True, turn=k)
        unique = {name for names, _ in unique_rules(model.__table__) for name in names}  # type: ignore[attr-defined]
        for position, (name, field) in enumerate(writable_fields(resource).items()):
            if field.nullable and (k + position) % 3 == 0:
                value = None
            elif name in unique or field.target is not None:
                continue
            else:
                value = sample(field, k // 2)
                if field.kind is Kind.TEXT and field.check is None and k % 2:
                    value = value.upper()
            if not validation_errors(resource, {**body, name: value}, unwritable):
                body[name] = value
        with self.app.app_context():
            loaded = schema_of(resource).load(body)
        return self(model, **loaded, **unwritable)

    def value(self, field: Field, n: int, below: int | None = None) -> Json:
        """The n-th valid value of a field, as JSON; values of different n differ where the field has several."""
        if field.target is not None:
            return self(field.target, created_by_id=below if field.parent else None).id
        return sample(field, n)

    def _fill(
        self,
        resource: Resource,
        given: Mapping[str, Json],
        unwritable: Mapping[str, Any],
        *,
        full: bool,
        turn: int = 0,
        below: int | None = None,
    ) -> dict[str, Json]:
        """Complete a body, then drop or add the fields that the model's own `validate` names, until it is valid.

        `turn` chooses among several fields.
        """
        n = next(_numbers)
        body = dict(given)
        for name, field in writable_fields(resource).items():
            if name not in given and (full or field.required):
                body[name] = self.value(field, n, below)
        for name in _secrets(resource):
            body[name] = PASSWORD
        for attempt in range(20):
            invalid = [name for name in validation_errors(resource, body, unwritable) if name not in given]
            if not invalid:
                return body
            name = invalid[turn % len(invalid)]
            if name in body:
                del body[name]
            else:
                body[name] = self.value(resource.fields[name], n + attempt // 2, below)
        raise AssertionError(f"No valid body of {resource.name} in 20 attempts: {body}")

    def _unwritable(self, resource: Resource, k: int) -> dict[str, Any]:
        """Values for the nullable fields that only the application sets."""
        values: dict[str, Any] = {}
        for name, field in resource.fields.items():
            if field.read_only and field.nullable:
                value = self.value(field, k)
                values[name] = datetime.fromisoformat(value) if field.kind is Kind.TIME else value
        return values


@functools.cache
def schema_of(resource: Resource) -> marshmallow.Schema:
    """The schema of a body that need not be whole: rules of the object are tried with what is set besides."""
    return resource.schema(partial=True)


def writable_fields(resource: Resource) -> dict[str, Field]:
    return {name: field for name, field in resource.fields.items() if not field.read_only}


def optional_fields(resource: Resource) -> dict[str, Field]:
    """The fields that a client may set to null."""
    return {name: field for name, field in writable_fields(resource).items() if field.nullable}


UNMADE = 9_999_999
"""The number of a value that no object of a run has: `Make` counts up from one."""


def sample(field: Field, n: int) -> Json:
    """The n-th valid value of a field that is not a reference."""
    return _SAMPLES[field.kind](field, n)


def _integer(field: Field, n: int) -> int:
    assert field.minimum is not None
    assert field.maximum is not None
    lowest = int(max(field.minimum, 0))
    return lowest + n % (int(field.maximum) - lowest + 1)


def _choice(field: Field, n: int) -> str:
    assert field.choices is not None
    values: list[str] = [member.value for member in field.choices]
    return values[n % len(values)]


def _time(_field: Field, n: int) -> Json:
    return as_json(datetime(2026, 1, 31, 8, tzinfo=UTC) + timedelta(hours=n))


def _attributes(_field: Field, n: int) -> Json:
    return {"qos": "LS", "level": n, "ratio": n + 0.25, "spare": n % 2 == 0}


def _text(field: Field, n: int) -> str:
    """A text in the field's canonical form: the first of these that its check accepts unchanged."""
    for text in (
        f"{field.name.replace('_', '-')}-{n:05d}",
        f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}",
        f"02:00:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
        f"#{n:06x}",
        f"/path/{n}",
        f"person{n}@example.com",
    ):
        if field.check is None:
            return text
        try:
            if field.check(text) == text:
                return text
        except ValueError:
            continue
    raise AssertionError(f"None of these texts is valid for {field.name}: add one.")


def _member(schema: marshmallow.Schema, n: int) -> dict[str, Json]:
    """The n-th valid object of a list of objects."""
    values: dict[str, Json] = {}
    for name, field in schema.fields.items():
        rule = next(iter(field.validators))
        if isinstance(rule, validate.OneOf):
            values[name] = next(iter(rule.choices))
        else:
            assert isinstance(rule, validate.Range)
            values[name] = rule.min + n % (rule.max - rule.min + 1)
    return values


_SAMPLES: Mapping[Kind, Callable[[Field, int], Json]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: lambda _, n: n + 0.5,
    Kind.MONEY: lambda _, n: f"{n}.50",
    Kind.BOOLEAN: lambda _, n: n % 2 == 0,
    Kind.DATE: lambda _, n: (date(2026, 1, 31) + timedelta(days=n)).isoformat(),
    Kind.TIME: _time,
    Kind.CHOICE: _choice,
    Kind.LIST: lambda _, n: ["Alpha", f"Beta {n}"],
    Kind.OBJECTS: lambda field, n: [_member(field.column.info["members"](), n)],
    Kind.ATTRIBUTES: _attributes,
}


def _secrets(resource: Resource) -> list[str]:
    """The required fields of a creation that are write-only: a user's password."""
    return [
        name
        for name, field in schema_of(resource).fields.items()
        if field.required and field.load_only and name not in resource.fields
    ]


def validation_errors(
    resource: Resource, body: Mapping[str, Json], unwritable: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """The errors of an object of this body as a whole, by field."""
    columns = resource.model.__table__.columns
    defaults = {column.key: _default(column) for column in columns}
    # Without passwords, which are hashed when they are loaded: that needs an application.
    readable = {name: value for name, value in body.items() if name in resource.fields}
    errors: dict[str, list[str]] = resource.model.validate(
        {**defaults, **schema_of(resource).load(readable), **(unwritable or {})}
    )
    return errors


def _default(column: Any) -> Any:
    return column.default.arg if column.default is not None and column.default.is_scalar else None
