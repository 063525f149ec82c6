"""The columns of an exported resource: titles, and the cell values of its objects."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from app.core.audit.installation import installation
from app.core.db.unit_of_work import db
from app.core.http.envelope import dumps
from app.core.values import as_json, fold
from app.resource import Resource
from app.resource.fields import Field, Kind
from app.resource.rows import visible
from app.sheets.cells import join_list
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX, IDENTITY, INSTALLATION, VERSION
from app.sheets.writers import Item, OutputColumn

FIRST_EXCEL_DATE = date(1900, 3, 1)
"""Excel has no dates before 1900 and counts 1900 as a leap year: earlier dates are written as text."""


def columns_of(resource: Resource, names: AbstractSet[str] | None = None) -> list[OutputColumn]:
    """The columns of a resource: id and version, then its fields, the attributes in use, and whose ids they are.

    With `names`, only those fields; what an import needs to find the objects again is always there.
    """
    columns = [OutputColumn(IDENTITY, itemgetter("id"))]
    for field in resource.fields.values():
        if field.name == "version":
            columns.insert(1, OutputColumn(VERSION, itemgetter("version")))
        elif names is not None and names.isdisjoint({field.name, field.reads_as}):
            continue
        elif field.kind is Kind.ATTRIBUTES:
            columns.extend(_attribute_column(name) for name in _attribute_names(resource, field))
        elif field.name != "id" and field.kind is not Kind.DOCUMENT:
            columns.append(_field_column(field))
    own_installation = installation()
    return [*columns, OutputColumn(INSTALLATION, lambda _item: own_installation)]


def title_of(field: Field) -> str:
    """The title of a field with its unit, which imports read too."""
    return f"{field.title} ({field.unit})" if field.unit else field.title


def reference_names(field: Field) -> Callable[[int, str], str]:
    """A function from id and name of a referenced object to its cell text: `name [#id]` if the name is not unique."""
    repeated = _repeated_names(field)
    return lambda identity, name: f"{name} [#{identity}]" if fold(name) in repeated else name


def _field_column(field: Field) -> OutputColumn:
    title = title_of(field)
    if field.target is not None:
        return OutputColumn(title, _reference_reader(field))
    convert = _CONVERSIONS.get(field.kind)
    if convert is None:
        return OutputColumn(title, itemgetter(field.name))
    return OutputColumn(title, lambda item: convert(item[field.name]))


def _attribute_column(name: str) -> OutputColumn:
    return OutputColumn(f"{ATTRIBUTE_PREFIX}{name}", lambda item: item["attributes"].get(name), is_typed=True)


def _attribute_names(resource: Resource, field: Field) -> list[str]:
    attributes = sa.select(field.column).where(*visible(resource.model)).distinct()
    # Collected here, because SQLite cannot join a table with the entries of its own JSON documents.
    return sorted({name for names in db.session.scalars(attributes) for name in names})


def _reference_reader(field: Field) -> Callable[[Item], str | None]:
    cell_text, reads_as = reference_names(field), field.reads_as

    def read(item: Item) -> str | None:
        target = item[reads_as]
        return None if target is None or target["name"] is None else cell_text(target["id"], target["name"])

    return read


def _repeated_names(field: Field) -> frozenset[str]:
    assert field.target is not None
    name = sa.func.fold(field.target.__table__.c[field.target.label])
    return frozenset(db.session.scalars(sa.select(name).group_by(name).having(sa.func.count() > 1)))


def _date(value: date | None) -> date | str | None:
    return value.isoformat() if value is not None and value < FIRST_EXCEL_DATE else value


_CONVERSIONS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.CHOICE: as_json,
    Kind.DATE: _date,
    Kind.TIME: as_json,
    Kind.LIST: join_list,
    Kind.OBJECTS: lambda values: dumps(values).decode() if values else None,
}
