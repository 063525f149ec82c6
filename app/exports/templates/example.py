"""The example row of a template: a valid value for each field."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from app.resource import color, ip_address, mac_address, url_or_path
from app.resource.declaration import Resource
from app.resource.fields import Check, Field, Kind, defaults_of

# Addresses reserved for documentation (RFC 5737, RFC 7042).
_FORMATTED: Mapping[Check, str] = {
    ip_address: "192.0.2.10",
    mac_address: "00:00:5e:00:53:01",
    color: "#1f77b4",
    url_or_path: "/health",
}


def example_of(resource: Resource, fields: Sequence[Field], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A value for each field, so that the object is valid; `names` lists the objects that each reference can name.

    On an empty installation there may be none: a reference that the object needs then names one that is to come.
    """
    values = {field.name: _value(field, names) for field in fields}
    for field in fields:
        if field.required and field.target is not None and values[field.name] is None:
            values[field.name] = _name_to_come(field)
    if resource.model.label in values:
        values[resource.model.label] = f"example-{resource.titles[0].lower()}"
    while errors := resource.model.validate({**defaults_of(resource.model), **values}):
        filled = [name for name in errors if resource.fields[name].nullable and values.get(name) is not None]
        if filled:
            # Of two fields that exclude each other, clear one.
            values[filled[0]] = None
        else:
            # Of several parents, name one.
            missing = next(name for name in errors if resource.fields[name].target is not None)
            values[missing] = _name_to_come(resource.fields[missing])
    return values


def _name_to_come(field: Field) -> str:
    return f"example-{field.title.lower()}"


def _value(field: Field, names: Mapping[str, Sequence[str]]) -> Any:
    if field.kind is Kind.TEXT:
        text = _FORMATTED.get(field.check) if field.check else f"Example {field.title.lower()}"
        return text[: field.length] if text else None
    if field.kind is Kind.REFERENCE:
        return next(iter(names[field.name]), None)
    return _BY_KIND.get(field.kind, _nothing)(field)


def _choice(field: Field) -> Any:
    assert field.choices is not None
    default: Any = field.column.default
    return default.arg if default is not None else next(iter(field.choices))


def _nothing(_field: Field) -> None:
    return None


_BY_KIND: Mapping[Kind, Callable[[Field], Any]] = {
    Kind.CHOICE: _choice,
    Kind.INTEGER: lambda field: max(1, field.minimum or 1),
    Kind.NUMBER: lambda field: max(1, field.minimum or 1),
    Kind.MONEY: lambda _: 1299,
    Kind.DATE: lambda _: date(2026, 1, 31),
    Kind.LIST: lambda _: "one, two",
}
