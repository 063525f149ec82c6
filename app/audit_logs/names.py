"""Names in queries of the audit log: a misspelt action, type or field is refused instead of finding nothing.

What the log has is a valid name too, although nothing in the code has it any more: a column of an earlier release.
"""

import functools
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.catalog import CATALOG
from app.core.audit.actions import ACTIONS, EVENT_TYPES
from app.core.audit.declaration import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.values import fold
from app.resource import ListQuery, unknown

logs = AuditLog.__table__


def require_known_terms(query: ListQuery) -> None:
    """Check the actions and types that a query filters by; raises BadRequest with the nearest valid names."""
    for position, item in enumerate(query.matching.filters):
        if item.operator in ("", "ne") and item.name in _VALID:
            value = query.values[f"p{position}"]
            for name in value if item.several else [value]:
                _check(item.name, name, _VALID[item.name](), logs.c[item.name] == name)


def check_field(name: str, is_changed: sa.ColumnElement[bool]) -> None:
    """Check the name of a changed field; `is_changed` says whether a record has it. Raises BadRequest."""
    if not name.startswith("attributes."):
        _check("field", name, field_names(), is_changed)


@functools.cache
def field_names() -> tuple[str, ...]:
    """The fields of all resources whose changes are recorded, references under both of their names."""
    names = {name for resource in CATALOG.values() for name in audited_columns(resource.model)}
    return tuple(sorted(names.union(*(resource.references for resource in CATALOG.values()))))


def _resource_types() -> Collection[str]:
    return {*CATALOG, *EVENT_TYPES, *(name.replace("-", "_") for name in current_app.blueprints)}


_VALID: dict[str, Callable[[], Collection[str]]] = {"action": lambda: ACTIONS, "resource_type": _resource_types}


def _check(what: str, name: str, valid: Collection[str], is_in_log: Any) -> None:
    if name in valid:
        return
    if db.session.scalar(sa.select(logs.c.id).where(is_in_log).limit(1)) is None:
        raise unknown(what, fold(name), sorted(valid), parameter=what)
