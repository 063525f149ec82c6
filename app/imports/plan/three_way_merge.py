"""What somebody changed after the export that a row comes from: base, theirs and mine."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.values import as_json
from app.imports.parse.rows import Draft
from app.resource.declaration import Resource

logs = AuditLog.__table__


def refuse_overwriting(resource: Resource, drafts: Sequence[Draft]) -> None:
    """Note a mistake wherever a row would replace a value that is newer than the version it was exported at.

    What nobody else touched may be changed, and so may what both changed to the same value.
    """
    stale = [draft for draft in drafts if draft.old and draft.version not in (None, draft.existing["version"])]
    if not stale:
        return
    statement = (
        sa.select(logs.c.resource_id, logs.c.version, logs.c.changes)
        .where(
            logs.c.resource_type == resource.model.__tablename__,
            any_of(logs.c.resource_id, {draft.object_id for draft in stale}),
        )
        .order_by(logs.c.version)
    )
    history: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for identity, version, changes in db.session.execute(statement):
        if version is not None:
            history.setdefault(identity, []).append((version, changes))
    for draft in stale:
        base = _as_exported(draft, history.get(draft.existing["id"], []))
        for name, title, was, theirs, mine in _collisions(resource, draft, base):
            draft.fail(
                name,
                "changed_since",
                f"Somebody changed {title} since the export: it was {_shown(was)}, it is {_shown(theirs)}, "
                f"and this row says {_shown(mine)}.",
            )


def _as_exported(draft: Draft, history: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """The values, at the version of the export, of the fields that have changed since."""
    base: dict[str, Any] = {}
    assert draft.version is not None
    for version, changes in history:
        if version > draft.version:
            for name, change in changes.items():
                base.setdefault(name, change["old"])
    return base


def _collisions(resource: Resource, draft: Draft, base: dict[str, Any]) -> Iterator[tuple[str, str, Any, Any, Any]]:
    """The field, what to call it, and the values: at the export, now, and in the row."""
    for name, theirs in draft.old.items():
        if name not in base:
            continue
        if name != "attributes":
            mine = draft.names.get(name) or as_json(draft.values[name])
            yield name, resource.fields[name].title, base[name], as_json(theirs), mine
            continue
        was = base[name] or {}
        for key, value in draft.attributes.items():
            if value != theirs.get(key) != was.get(key):
                yield name, key, was.get(key), theirs.get(key), value


def _shown(value: Any) -> str:
    return "empty" if value in (None, "", []) else str(value)
