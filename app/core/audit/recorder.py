"""The audit recorder: one record per changed object and version, in the transaction that changed it.

The session's listener records the facts (which columns went from what to what), so that no code path can
forget to. `audited` adds the intent (assign, release) and `record` what changes no row (login, import).
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.orm.attributes import History

from app.core.audit import mac
from app.core.audit.declaration import Audited, Guarded, audited_columns, guarded_columns, snapshot_columns
from app.core.audit.mac import state_mac
from app.core.audit.models import COLUMNS, STORED, WRITTEN
from app.core.db.statements import write_rows
from app.core.db.unit_of_work import current_context, db, unit_of_work
from app.core.request_context import RequestContext
from app.core.values import as_json, json_text, same_json, utcnow

P = ParamSpec("P")
R = TypeVar("R")

Changes = dict[str, dict[str, Any]]
"""What changed: {"status": {"old": "active", "new": "offline"}}."""
RecordRow = tuple[Any, ...]
"""A record as a row, its values in the order of COLUMNS."""

BATCH_RECORDS = 10_000
"""Records that the set-based writer chains and writes together."""


# Built once: SQLAlchemy computes the cache key of each new statement.
_INSERT = sa.insert(STORED).inline()


def audited(action: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Name what a view does to the objects that it changes: their records say `action` instead of "update"."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            unit_of_work().transaction.action = action
            return view(*args, **kwargs)

        return wrapper

    return decorate


def record(
    action: str,
    resource_type: str,
    resource_id: int | None = None,
    resource_name: str | None = None,
    changes: Changes | None = None,
    *,
    context: RequestContext | None = None,
    state_mac: str | None = None,
) -> None:
    """Record an event that changes no version (a login, an import, a refusal) in the current transaction.

    `state_mac` covers the row that the event is about; see mac.row_mac.
    """
    row = entry(
        action,
        resource_type,
        resource_id,
        resource_name,
        changes=changes or {},
        context=context,
        state_mac=state_mac,
    )
    _write(unit_of_work().current_connection(), [row])


def record_many(entries: Iterable[RecordRow]) -> None:
    """Write the records of a set-based change, each made by `entry`, in a few statements."""
    rest = iter(entries)
    while batch := list(islice(rest, BATCH_RECORDS)):
        linked = _linked(db.session.connection(), batch)
        write_rows(STORED, WRITTEN, (tuple(record.values()) for record in linked))


def entry(
    action: str,
    resource_type: str,
    resource_id: int | None,
    resource_name: str | None,
    *,
    version: int | None = None,
    changes: Mapping[str, Any],
    snapshot: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    context: RequestContext | None = None,
    state_mac: str | None = None,
) -> RecordRow:
    """One record as a row in the order of COLUMNS, attributed to the current context."""
    context = context or current_context()
    return (
        at or utcnow(),
        context.user_id,
        context.username,
        action,
        resource_type,
        resource_id,
        resource_name and resource_name[:255],
        version,
        changes,
        snapshot,
        context.ip_address,
        context.user_agent,
        context.token_id,
        context.request_id,
        context.reason,
        # The place of an event is taken when its MAC is computed.
        None,
        None,
        state_mac,
    )


def record_of_row(action: str, model: Any, row: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """The record of a row that was created or changed, given as it is now: its values as they are stored, with its MAC.

    The caller writes it together with the row.
    """
    at = row["updated_at"]
    values = {"version": row["version"], "changes": changes, "at": at, "state_mac": state_mac(model, row)}
    written = entry(action, model.__table__.name, row["id"], str(row[model.label]), **values)
    (record,) = _linked(unit_of_work().current_connection(), [written])
    return record


def stamp_changes(session: Session, _context: Any, _instances: Any) -> None:
    """Listener: date each changed object with the time that its record will carry."""
    work = unit_of_work()
    if work.is_reading and (session.new or session.dirty or session.deleted):
        raise RuntimeError("A safe request may not change anything.")
    now = work.transaction.changed_at = utcnow()
    for target in session.new:
        if isinstance(target, Audited):
            target.created_at = target.updated_at = now  # type: ignore[attr-defined]
    for target in session.dirty:
        if isinstance(target, Audited) and any(True for _ in _changed_attributes(target)):
            target.updated_at = now  # type: ignore[attr-defined]
    for model in _guarded(session):
        changed, deleted = ([t for t in objects if type(t) is model] for objects in (session.dirty, session.deleted))
        model.before_flush(changed, deleted)


def record_changes(session: Session, _context: Any) -> None:
    """Listener: write a record of each object that the flush has changed."""
    rows = list(_entries(session))
    if rows:
        _write(session.connection(), rows)
    for model in _guarded(session):
        model.after_flush([target for target in session.dirty if type(target) is model])


def _guarded(session: Session) -> set[type[Guarded]]:
    """The models with rules of their own among what a flush changes or deletes."""
    return {type(target) for target in (*session.dirty, *session.deleted) if isinstance(target, Guarded)}


def _write(connection: sa.Connection, rows: list[RecordRow]) -> None:
    connection.execute(_INSERT, _linked(connection, rows))


def _linked(connection: sa.Connection, rows: Iterable[RecordRow]) -> list[dict[str, Any]]:
    """The records as they are stored, each with its MAC."""
    return mac.link(connection, (_stored(row) for row in rows), unit_of_work().transaction.known_macs)


def _stored(row: RecordRow) -> dict[str, Any]:
    content = dict(zip(COLUMNS, row, strict=True))
    for name in ("changes", "snapshot"):
        if content[name] is not None:
            content[name] = json_text(content[name])
    return content


def refuse_bulk_writes(state: ORMExecuteState) -> None:
    if not (state.is_insert or state.is_update or state.is_delete) or state.bind_mapper is None:
        return
    if issubclass(state.bind_mapper.class_, Audited):
        name = state.bind_mapper.class_.__name__
        raise RuntimeError(f"A bulk write to {name} would bypass the audit log; use the set-based writer.")


def _entries(session: Session) -> Iterator[RecordRow]:
    transaction = unit_of_work().transaction
    at = transaction.changed_at
    for action, objects in (
        ("create", session.new),
        (transaction.action, session.dirty),
        ("delete", session.deleted),
    ):
        for target in objects:
            if not isinstance(target, Audited):
                continue
            changes = _facts(target, action)
            if not changes and action not in ("create", "delete"):
                continue
            yield entry(
                action,
                sa.inspect(target).mapper.local_table.name,
                target.id,
                str(target),
                version=target.version + (action == "delete"),
                changes=changes,
                snapshot=_snapshot(target) if action == "delete" else None,
                at=at,
                state_mac=None if action == "delete" else _state_mac_of(target),
            )


def _state_mac_of(target: Any) -> str | None:
    model: Any = type(target)
    return state_mac(model, {name: getattr(target, name) for name in guarded_columns(model)})


def _facts(target: Any, action: str) -> Changes:
    if action == "delete":
        return {}
    if action == "create":
        model: Any = type(target)
        return created({name: getattr(target, name) for name in audited_columns(model)}, model)
    return _changed(target)


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


def changed(old: Mapping[str, Any], new: Mapping[str, Any], model: Any) -> Changes:
    """The changes of a row, given as it was and by its new values."""
    return {
        name: {"old": None, "new": "changed"}
        if column.info.get("secret")
        else {"old": as_json(old[name]), "new": as_json(new[name])}
        for name, column in audited_columns(model).items()
        if name in new
    }


def _changed(target: Any) -> Changes:
    """Each audited column that the flush changed, with its old and new value."""
    model: Any = type(target)
    changed = dict(_changed_attributes(target))
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


def _changed_attributes(target: Any) -> Iterator[tuple[str, History]]:
    """Each attribute that was changed since it was loaded; checking the history of all takes far longer."""
    state = sa.inspect(target)
    for name in list(state.committed_state):
        history = state.attrs[name].history
        if history.has_changes():
            yield name, history


def snapshot_of(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that restores an object of these values, except secrets."""
    return {name: as_json(values[name]) for name in snapshot_columns(model)}


def _snapshot(target: Any) -> dict[str, Any]:
    return snapshot_of(type(target), {column.key: getattr(target, column.key) for column in target.__table__.columns})
