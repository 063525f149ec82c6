"""Three-way merge of exported rows: the value at the export (base), the stored value (theirs), the row's (mine)."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.messages import Term, tr
from app.core.values import as_json, same_json
from app.imports.parse.rows import ParsedRow
from app.resource import Resource

logs = AuditLog.__table__


def check_three_way_merge(resource: Resource, stale: Sequence[ParsedRow]) -> None:
    """Add an error wherever a row would overwrite a value that has changed since its export.

    `stale` rows change objects that are not at the exported version any more. Fields that nobody else has changed
    merge, and so do fields that both have changed to the same value.
    """
    statement = (
        sa.select(logs.c.resource_id, logs.c.version, logs.c.changes)
        .where(
            logs.c.resource_type == resource.model.__tablename__,
            any_of(logs.c.resource_id, {row.object_id for row in stale}),
        )
        .order_by(logs.c.version)
    )
    history: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for object_id, version, changes in db.session.execute(statement):
        if version is not None:
            history.setdefault(object_id, []).append((version, changes))
    for row in stale:
        bases = _bases(row, history.get(row.existing["id"], []))
        for name, title, base, theirs, mine in _conflicts(resource, row, bases):
            row.add_error(
                name,
                "changed_since",
                tr(
                    "{field} has changed since the export: it was {base}, it is {stored} now, and this row has "
                    "{given}. Export the object again to change it.",
                    field=title,
                    base=_shown(base),
                    stored=_shown(theirs),
                    given=_shown(mine),
                ),
            )


def _bases(row: ParsedRow, history: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """The values at the exported version, of the fields that have changed since."""
    bases: dict[str, Any] = {}
    assert row.exported_version is not None
    for version, changes in history:
        if version > row.exported_version:
            for name, change in changes.items():
                bases.setdefault(name, change["old"])
    return bases


def _conflicts(resource: Resource, row: ParsedRow, bases: dict[str, Any]) -> Iterator[tuple[str, str, Any, Any, Any]]:
    """The field, its title, and the three values, wherever both sides have changed one to different values."""
    for name, theirs in row.old.items():
        if name not in bases:
            continue
        if name != "attributes":
            mine = row.reference_names.get(name) or as_json(row.values[name])
            yield name, resource.fields[name].heading, bases[name], as_json(theirs), mine
            continue
        base = bases[name] or {}
        for key, value in row.attributes.items():
            if not same_json(value, theirs.get(key)) and not same_json(theirs.get(key), base.get(key)):
                yield name, key, base.get(key), theirs.get(key), value


def _shown(value: Any) -> str:
    return Term("empty", "空") if value in (None, "", []) else str(value)
