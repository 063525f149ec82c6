"""What a record says of an object: the columns that changed with their old and new values, and its snapshot."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm.attributes import History

from app.core.values import as_json, same_json

Changes = dict[str, dict[str, Any]]
"""What changed: {"status": {"old": "active", "new": "offline"}}."""

_STAMPS = frozenset({"id", "version", "created_at", "updated_at"})
"""Columns that a record implies: it has its own id, version and time."""


def created(values: Mapping[str, Any], model: Any) -> Changes:
    """The changes of a creation: every value that is not null, defaults too, so that a replay needs nothing else."""
    return {
        name: {
            "old": None,
            "new": "changed" if column.info.get("secret") else as_json(values[name]),
        }
        for name, column in audited_columns(model).items()
        if values[name] is not None
    }


def changes_of(target: Any) -> Changes:
    """Each audited column that the flush changed, with its old and new value."""
    model: Any = type(target)
    changed = dict(changed_attributes(target))
    changes: Changes = {}
    for name, column in audited_columns(model).items():
        history = changed.get(name)
        if history is None:
            continue
        old = as_json(history.deleted[0]) if history.deleted else None
        new = as_json(history.added[0]) if history.added else None
        if column.info.get("secret"):
            old, new = None, "changed"
        if not same_json(old, new):
            changes[name] = {"old": old, "new": new}
    return changes


def changed_attributes(target: Any) -> Iterator[tuple[str, History]]:
    """Each attribute that was changed since it was loaded; checking the history of all takes far longer."""
    state = sa.inspect(target)
    for name in list(state.committed_state):
        history = state.attrs[name].history
        if history.has_changes():
            yield name, history


def snapshot_of(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that restores an object of these values, except secrets."""
    return {name: as_json(values[name]) for name in _kept_columns(model)}


def snapshot(target: Any) -> dict[str, Any]:
    return snapshot_of(type(target), {column.key: getattr(target, column.key) for column in target.__table__.columns})


@functools.cache
def audited_columns(model: Any) -> dict[str, sa.Column[Any]]:
    """The columns of a model whose changes are recorded, by name."""
    return {
        column.key: column
        for column in model.__table__.columns
        if column.key not in _STAMPS and column.info.get("audit", True)
    }


@functools.cache
def _kept_columns(model: Any) -> tuple[str, ...]:
    return tuple(column.key for column in model.__table__.columns if not column.info.get("secret"))
