"""The filters `field`, `from` and `to` of the audit log: which field changed, from which value, to which.

They compare the terms of a record (see change_terms). PostgreSQL has an index of the terms of all records but creations
(`audit_terms`, from the first migration). SQLite, which is for small installations, computes them for each record that
it reads.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from app.audit_logs.change_terms import short
from app.audit_logs.names import check_field
from app.catalog import CATALOG
from app.core.audit.declaration import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.dialects.registry import current_dialect
from app.core.values import fold
from app.resource import ip_address, mac_address
from app.resource.fields import Check, Kind

Clause = sa.ColumnElement[bool]

logs = AuditLog.__table__


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """What must have changed. None does not filter; an empty text stands for null."""

    field: str | None = None
    old: str | None = None
    new: str | None = None
    in_creations: bool = False
    """Whether the values of creations are searched too, for which there is no index."""

    def __bool__(self) -> bool:
        return (self.field, self.old, self.new) != (None, None, None)

    @property
    def condition(self) -> Clause:
        """Whether one change of a record matches all of it; text is compared ignoring case."""
        if self.in_creations:
            return self._has_terms()
        # Written like the condition of the partial index, or PostgreSQL would not use it.
        return sa.and_(logs.c.action != sa.literal_column("'create'"), self._has_terms())

    def check(self) -> None:
        """Raise BadRequest for a field that neither a resource nor a record has."""
        if self.field is not None:
            check_field(self.field, ChangeFilter(self.field).condition)

    def _has_terms(self) -> Clause:
        if self.field is not None:
            name = _columns().get(self.field, self.field)
            implied = _implied(name, self.old, self.new)
            key = orjson.dumps(name.rpartition(".")[2]).decode()
            return sa.and_(_contains(logs.c.changes, f"{key}:"), *implied, _has_all(self._terms_of(name)))
        names = sorted({name for resource in CATALOG.values() for name in audited_columns(resource.model)})
        pairs = [terms for terms in map(self._terms_of, names) if len(terms) > 1]
        singles = [terms[0] for terms in map(self._terms_of, names) if len(terms) == 1]
        return sa.and_(*_implied(None, self.old, self.new), sa.or_(_has_any(singles), *map(_has_all, pairs)))

    def _terms_of(self, name: str) -> list[str]:
        """The fewest terms of this field that a record must have."""
        old = "" if self.old is None else f"<{short(_canonical(name, self.old))}"
        new = "" if self.new is None else f">{short(_canonical(name, self.new))}"
        if old and new and name in _lists():
            # A list may lose and gain several members, so there is no term for both.
            return [name + old, name + new]
        return [name + old + new]


def _implied(name: str | None, *values: str | None) -> list[Clause]:
    """What the terms imply, and is cheaper than these where another index selects the rows: the values are there."""
    folded = sa.func.fold(logs.c.changes)
    names = [name] if name else ["", *_addresses()]
    return [
        sa.or_(
            *(
                _contains(folded, orjson.dumps(fold(form)).decode()[1:-1])
                for form in dict.fromkeys(_canonical(each, value) for each in names)
            )
        )
        for value in values
        if value
    ]


def _canonical(name: str, value: str) -> str:
    """A value of a field as it is stored: an address may be given in any spelling."""
    check = _addresses().get(name)
    if check is None:
        return value
    try:
        return check(value)
    except ValueError:
        return value


@functools.cache
def _addresses() -> dict[str, Check]:
    """The checks of the fields that hold addresses, by their names."""
    fields = (field for resource in CATALOG.values() for field in resource.fields.values())
    return {field.name: field.check for field in fields if field.check in (ip_address, mac_address)}


def _contains(text: sa.ColumnElement[str], part: str) -> Clause:
    return sa.func.position_in(text, sa.literal(part, sa.Text())) > 0


def _has_all(terms: Sequence[str]) -> Clause:
    return current_dialect().audit.has_all_terms(logs.c.changes, terms)


def _has_any(terms: Sequence[str]) -> Clause:
    return current_dialect().audit.has_any_term(logs.c.changes, terms)


@functools.cache
def _lists() -> frozenset[str]:
    """The names of the fields whose values are lists of texts."""
    fields = (field for resource in CATALOG.values() for field in resource.fields.values())
    return frozenset(field.name for field in fields if field.kind is Kind.LIST)


@functools.cache
def _columns() -> dict[str, str]:
    """The column of each reference by the name under which it is read: {"server": "server_id"}."""
    return {name: field.name for resource in CATALOG.values() for name, field in resource.references.items()}
