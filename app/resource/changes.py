"""What the fields of a write make of the stored values: attributes merge by key, lists gain and lose members."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.core.errors import Invalid
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Kind
from app.resource.json_fields import MAX_ATTRIBUTES, MAX_ITEMS
from app.resource.schema import ADD, REMOVE


def changed_values(resource: Resource, stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the columns that a write sets, given those of the object before it.

    The object must be locked: of two people who change different keys, the second merges into what the first stored.
    Raises Invalid where an object would have too many attributes or a list too many members.
    """
    values = dict(sent)
    errors: dict[str, list[str]] = {}
    for field in resource.fields.values():
        name = field.name
        if field.kind is Kind.ATTRIBUTES and name in values:
            values[name] = merge_attributes(stored[name], values[name])
            if len(values[name]) > MAX_ATTRIBUTES:
                errors[name] = [f"At most {MAX_ATTRIBUTES} attributes; with these there are {len(values[name])}."]
        elif field.kind is Kind.LIST and not {name + ADD, name + REMOVE}.isdisjoint(values):
            added, removed = values.pop(name + ADD, ()), values.pop(name + REMOVE, ())
            values[name] = edit_members(stored[name], added, removed)
            if len(values[name]) > MAX_ITEMS:
                errors[name + ADD] = [f"At most {MAX_ITEMS} members; with these there are {len(values[name])}."]
    if errors:
        raise Invalid(errors=errors)
    implied: dict[str, Any] = resource.model.implied(stored, values)
    return values | implied


def merge_attributes(stored: Mapping[str, Any], sent: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes after a JSON merge patch (RFC 7396): null removes a key, and null instead of an object removes all."""
    if sent is None:
        return {}
    return {key: value for key, value in {**stored, **sent}.items() if sent.get(key, value) is not None}


def edit_members(stored: Sequence[str], added: Collection[str], removed: Collection[str]) -> list[str]:
    """A list without the removed members and with the added ones that it lacks, compared as filters compare them."""
    gone = {fold(member) for member in removed}
    members = [member for member in stored if fold(member) not in gone]
    there = {fold(member) for member in members}
    for member in added:
        if fold(member) not in there:
            members.append(member)
            there.add(fold(member))
    return members
