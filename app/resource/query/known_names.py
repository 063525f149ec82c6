"""Refuse misspelt names of attributes and of related objects in a query, with the most similar ones that exist.

Whether a name exists is cached until its table changes. A user is told only the names of objects that they may see.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.cache.backends import cached
from app.core.db.statements import read_rows
from app.core.http.access import current_actor
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Field
from app.resource.query.conditions import escape_like
from app.resource.query.filters import EQUALITY, ORDER, TEXT, Filter, unknown
from app.resource.query.json_filters import ATTRIBUTE, attribute_text
from app.resource.rows import visible

MAX_CANDIDATES = 500
"""A misspelt name is compared with as many names that begin with the same two letters, and as many others."""


def require_known_names(resource: Resource, parameter: str, item: Filter, value: Any) -> None:
    """Refuse a filter by an attribute that no object has, or by the name of a related object that does not exist."""
    if item.name.startswith(ATTRIBUTE):
        check_attribute(resource, item.name, parameter)
    elif item.name in resource.references and item.operator in ("", "ne"):
        names = value if isinstance(value, list) else [value]
        _check_related(resource, resource.references[item.name], names, parameter)


def check_attribute(resource: Resource, name: str, parameter: str) -> None:
    """Refuse `attributes.<key>` as a filter or a sort column if no object has an attribute with this key."""
    key = name.removeprefix(ATTRIBUTE)
    if _attribute_finder(resource.model)(key):
        return
    keys = _attribute_keys(resource.model)
    begin, separator, _ = key.rpartition("__")
    if separator and begin in keys:
        operators = [f"{ATTRIBUTE}{begin}__{operator}" for operator in EQUALITY | ORDER | TEXT]
        raise unknown("operator", name, operators, parameter=parameter)
    raise unknown("attribute", key, keys, parameter=parameter, prefix=ATTRIBUTE)


@functools.cache
def _attribute_finder(model: Any) -> Callable[[str], bool]:
    @cached(model)
    def has_attribute(_table: str, key: str) -> bool:
        attribute = attribute_text(model.__table__.c.attributes, key)
        statement = sa.select(sa.exists().where(attribute.is_not(None)))
        return bool(read_rows(statement).scalar_one())

    return functools.partial(has_attribute, model.__tablename__)


def _attribute_keys(model: Any) -> list[str]:
    table = model.__table__
    entries = sa.func.json_entries(table.c.attributes).table_valued("key")
    return sorted(read_rows(sa.select(entries.c.key).select_from(table.join(entries, sa.true())).distinct()).scalars())


def _check_related(resource: Resource, field: Field, names: Sequence[str], parameter: str) -> None:
    assert field.target is not None
    if field.target.public or current_actor().is_admin:
        seen: list[sa.ColumnElement[bool]] = []
        existing = _name_finder(field.target)(sorted({fold(name) for name in names}))
    else:
        seen = _referred(resource, field)
        existing = _select_names(field.target, names, seen)
    for name in names:
        if fold(name) not in existing:
            candidates = _candidates(field.target, name, seen)
            raise unknown(field.term, name, candidates, parameter=parameter, reason="unknown_name")


@functools.cache
def _name_finder(target: Any) -> Callable[[Sequence[str]], list[str]]:
    @cached(target)
    def names_that_exist(_table: str, names: Sequence[str]) -> list[str]:
        return _select_names(target, names, [])

    return functools.partial(names_that_exist, target.__tablename__)


def _select_names(target: Any, names: Sequence[str], conditions: Sequence[sa.ColumnElement[bool]]) -> list[str]:
    """The names, folded, that objects have."""
    label = sa.func.fold(target.__table__.c[target.label])
    folded = [fold(name) for name in names]
    return list(read_rows(sa.select(label).where(label.in_(folded), *conditions).distinct()).scalars())


def _referred(resource: Resource, field: Field) -> list[sa.ColumnElement[bool]]:
    """Conditions: an object that the acting user sees refers to it, so that they have seen its name already."""
    assert field.target is not None
    seen = sa.select(field.column).where(field.column.is_not(None), *visible(resource.model))
    return [field.target.__table__.c.id.in_(seen)]


def _candidates(target: Any, name: str, conditions: Sequence[sa.ColumnElement[bool]]) -> list[str]:
    label = target.__table__.c[target.label]
    names = sa.select(label).where(label.is_not(None), *conditions, *visible(target)).limit(MAX_CANDIDATES)
    alike = sa.func.fold(label).like(f"{escape_like(fold(name)[:2])}%", escape="\\")
    return sorted({*read_rows(names.where(alike)).scalars(), *read_rows(names).scalars()})
