"""The filters `field`, `from` and `to` of the audit log: which field changed, from which value, to which.

They compare the terms of a record (see change_terms). PostgreSQL has an index of the terms of all records but creations
(`audit_terms`, from the first migration). SQLite, which is for small installations, computes them for each record that
it reads.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from app.audit_logs.change_terms import short
from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.audit.recorder import audited_columns
from app.core.db.unit_of_work import db
from app.core.values import fold
from app.resource.fields import Kind

Clause = sa.ColumnElement[bool]

logs = AuditLog.__table__


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """What must have changed. None does not filter; an empty text stands for null."""

    field: str | None = None
    old: str | None = None
    new: str | None = None

    def __bool__(self) -> bool:
        return self != ChangeFilter()

    @property
    def condition(self) -> Clause:
        """Whether one change of a record matches all of it; text is compared ignoring case."""
        # Written like the condition of the partial index, or PostgreSQL would not use it.
        return sa.and_(logs.c.action != sa.literal_column("'create'"), self._has_terms())

    def _has_terms(self) -> Clause:
        # Implied by the terms, but cheaper than these where another index selects the rows.
        implied = [
            _contains(sa.func.fold(logs.c.changes), orjson.dumps(fold(value)).decode()[1:-1])
            for value in (self.old, self.new)
            if value
        ]
        if self.field is not None:
            name = _columns().get(self.field, self.field)
            key = orjson.dumps(name.rpartition(".")[2]).decode()
            return sa.and_(_contains(logs.c.changes, f"{key}:"), *implied, _has_all(self._terms_of(name)))
        names = sorted({name for resource in CATALOG.values() for name in audited_columns(resource.model)})
        pairs = [terms for terms in map(self._terms_of, names) if len(terms) > 1]
        singles = [terms[0] for terms in map(self._terms_of, names) if len(terms) == 1]
        return sa.and_(*implied, sa.or_(_has_any(singles), *map(_has_all, pairs)))

    def _terms_of(self, name: str) -> list[str]:
        """The fewest terms of this field that a record must have."""
        old = "" if self.old is None else f"<{short(self.old)}"
        new = "" if self.new is None else f">{short(self.new)}"
        if old and new and name in _lists():
            # A list may lose and gain several members, so there is no term for both.
            return [name + old, name + new]
        return [name + old + new]


def _contains(text: sa.ColumnElement[str], part: str) -> Clause:
    position: sa.ColumnElement[int] = sa.func.strpos(text, part) if _is_indexed() else sa.func.instr(text, part)
    return position > 0


def _has_all(terms: Sequence[str]) -> Clause:
    if _is_indexed():
        clause: Clause = _terms().contains(_texts(terms))
        return clause
    return sa.and_(*(_has_any([term]) for term in terms))


def _has_any(terms: Sequence[str]) -> Clause:
    if _is_indexed():
        # As a subquery: for a list of many literal terms the planner expects a quarter of the log, for values it
        # cannot see only a few records.
        clause: Clause = _terms().overlap(sa.select(_texts(terms)).scalar_subquery())
        return clause
    each = sa.func.json_each(sa.func.audit_terms(logs.c.changes)).table_valued("value")
    return sa.exists().select_from(each).where(each.c.value.in_(terms))


def _is_indexed() -> bool:
    return db.engine.dialect.name == "postgresql"


def _terms() -> Any:
    return sa.func.audit_terms(logs.c.changes, type_=ARRAY(sa.Text))


def _texts(values: Sequence[str]) -> sa.ColumnElement[list[str]]:
    return sa.literal(list(values), ARRAY(sa.Text))


@functools.cache
def _lists() -> frozenset[str]:
    """The names of the fields whose values are lists of texts."""
    fields = (field for resource in CATALOG.values() for field in resource.fields.values())
    return frozenset(field.name for field in fields if field.kind is Kind.LIST)


@functools.cache
def _columns() -> dict[str, str]:
    """The column of each reference by the name under which it is read: {"server": "server_id"}."""
    return {name: field.name for resource in CATALOG.values() for name, field in resource.references.items()}
