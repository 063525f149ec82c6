"""What the columns of an exported resource are, and what its objects put into them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from app.core.db.unit_of_work import db
from app.core.http.envelope import dumps
from app.core.values import as_json, fold
from app.resource import Resource
from app.resource.fields import Field, Kind
from app.resource.visibility import visible
from app.sheets.cell_text import join_list
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX, IDENTITY, VERSION

Item = Mapping[str, Any]

EXCELS_FIRST_DAY = date(1900, 3, 1)
"""It knows no day before 1900, and takes 1900 for a leap year: earlier dates are written as text."""


@dataclass(frozen=True, slots=True)
class Column:
    """A title, and the value of an object below it: text, a number, a date, true or false, or None."""

    title: str
    value: Callable[[Item], Any]


def columns_of(resource: Resource) -> list[Column]:
    """The columns of a resource: its identity first, then its fields, then the attributes that there are."""
    columns = [Column(IDENTITY, lambda item: item["id"])]
    for field in resource.fields.values():
        if field.name == "version":
            columns.insert(1, Column(VERSION, lambda item: item["version"]))
        elif field.kind is Kind.ATTRIBUTES:
            columns.extend(_attribute(name) for name in _attribute_names(resource, field))
        elif field.name != "id" and field.kind is not Kind.DOCUMENT:
            columns.append(_column(field))
    return columns


def _column(field: Field) -> Column:
    title = title_of(field)
    if field.target is not None:
        return Column(title, _reference(field))
    read = _READ.get(field.kind)
    if read is None:
        return Column(title, itemgetter(field.name))
    return Column(title, lambda item: read(item[field.name]))


def title_of(field: Field) -> str:
    return f"{field.title} ({field.unit})" if field.unit else field.title


def _attribute(name: str) -> Column:
    return Column(f"{ATTRIBUTE_PREFIX}{name}", lambda item: item["attributes"].get(name))


def _attribute_names(resource: Resource, field: Field) -> list[str]:
    seen = sa.select(field.column).where(*visible(resource.model)).distinct()
    # SQLite cannot join a table with the entries of its own documents.
    return sorted({name for found in db.session.scalars(seen) for name in found})


def _reference(field: Field) -> Callable[[Item], str | None]:
    name, reads_as = called(field), field.reads_as

    def read(item: Item) -> str | None:
        found = item[reads_as]
        return None if found is None or found["name"] is None else name(found["id"], found["name"])

    return read


def called(field: Field) -> Callable[[int, str], str]:
    """How a sheet names an object that a reference may mean: with its id where other objects have the name too."""
    repeated = _repeated_names(field)
    return lambda identity, name: f"{name} [#{identity}]" if fold(name) in repeated else name


def _repeated_names(field: Field) -> frozenset[str]:
    assert field.target is not None
    name = sa.func.fold(field.target.__table__.c[field.target.label])
    return frozenset(db.session.scalars(sa.select(name).group_by(name).having(sa.func.count() > 1)))


def _date(value: date | None) -> date | str | None:
    return value.isoformat() if value is not None and value < EXCELS_FIRST_DAY else value


_READ: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.CHOICE: as_json,
    Kind.DATE: _date,
    Kind.TIME: as_json,
    Kind.LIST: join_list,
    Kind.OBJECTS: lambda values: dumps(values).decode() if values else None,
}
