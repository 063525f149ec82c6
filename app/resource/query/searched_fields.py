"""What a search looks into: the fields of a resource in the order of their weight, and what of a value is searched."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.core.addresses import mac_digits
from app.core.db.models import Entity
from app.core.db.rules import is_mac_address
from app.core.db.search.declaration import Form, Searched
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.rows import Private

_FORMS = {Kind.LIST: Form.LIST, Kind.OBJECTS: Form.OBJECTS, Kind.ATTRIBUTES: Form.ATTRIBUTES, Kind.INTEGER: Form.NUMBER}
_ALWAYS = frozenset({Kind.TEXT, Kind.LIST, Kind.OBJECTS, Kind.ATTRIBUTES})


@functools.cache
def is_searched(resource: Resource) -> bool:
    """Whether the objects of a resource are in the search table."""
    return issubclass(resource.model, Entity) and bool(resource.search)


@functools.cache
def searched_fields(resource: Resource) -> tuple[Field, ...]:
    """The object's name, what `search` lists, then every other text, list and object that a client may set."""
    names = dict.fromkeys((resource.model.label, *(column.key for column in resource.search)))
    others = (one.name for one in resource.fields.values() if one.kind in _ALWAYS and not one.read_only)
    return tuple(resource.fields[name] for name in dict.fromkeys((*names, *others)))


def searched_of(resource: Resource) -> Searched:
    """The declaration of a resource's entries in the search table."""
    columns = tuple((field.name, _form(field)) for field in searched_fields(resource))
    return Searched(resource.name, columns, is_private=issubclass(resource.model, Private))


def _form(field: Field) -> Form:
    return Form.MAC if is_mac_address(field.column) else _FORMS.get(field.kind, Form.TEXT)


class FoundText(NamedTuple):
    """A searched text of an object: its field, as it reads, and as it is compared."""

    field: str
    value: str
    compared: str


def searched_values(resource: Resource, item: Mapping[str, Any]) -> Iterator[FoundText]:
    """The searched texts of an object as it is read, the most telling first."""
    for field in searched_fields(resource):
        value, form = item[field.name], _form(field)
        if value is None:
            continue
        match form:
            case Form.ATTRIBUTES:
                yield from (_found(f"{field.name}.{key}", one) for key, one in value.items() if one is not None)
            case Form.LIST:
                yield from (_found(field.name, one) for one in value)
            case Form.OBJECTS:
                yield from (_found(field.name, one) for member in value for one in member.values())
            case Form.MAC:
                yield FoundText(field.name, value, f"{value}\n{mac_digits(value)}")
            case _:
                yield _found(field.name, value)


def _found(field: str, value: Any) -> FoundText:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return FoundText(field, text, fold(text))
