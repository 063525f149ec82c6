"""What the fields of a write make of the stored values: attributes merge by key, lists gain and lose members."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from app.core.errors import Invalid, dotted
from app.core.http.envelope import dumps
from app.core.values import fold, same_json
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.json_fields import MAX_ATTRIBUTES, MAX_ITEMS
from app.resource.schema import ADD, REMOVE, Sent

CHANGED = "Is read-only, and the object has another value now: the application sets it."


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


def check_sent_back(resource: Resource, sent: Sent, shown: Mapping[str, Any]) -> None:
    """Refuse read-only fields that were sent with other values than the object is `shown` with, and what waited.

    Raises Invalid.
    """
    current = orjson.loads(dumps(shown))
    moved_on = _has_moved_on(resource, sent.read_only, current)
    errors = dict(sent.errors)
    for name, value in sent.read_only.items():
        is_excused = moved_on and name in resource.fields and _is_bookkeeping(resource.fields[name])
        if not is_excused and not same_json(value, current.get(name)):
            errors[name] = [CHANGED]
    if errors:
        raise Invalid(errors=dotted(errors))


def _has_moved_on(resource: Resource, sent: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Whether what raises no version (a login, a health check) has happened since the client read the object."""
    times = [name for name, field in resource.fields.items() if field.kind is Kind.TIME and _is_bookkeeping(field)]
    return any(_is_before(sent[name], current[name]) for name in times if name in sent)


def _is_bookkeeping(field: Field) -> bool:
    return field.column.info.get("audit") is False


def _is_before(earlier: Any, later: str | None) -> bool:
    """Whether one time, which a client has sent, is before another one; null is before every time."""
    if earlier is None or later is None:
        return later is not None
    try:
        return datetime.fromisoformat(earlier) < datetime.fromisoformat(later)
    except (ValueError, TypeError):
        return False


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
