"""Remembering what a user says of columns, and knowing it again when the same titles come."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.unit_of_work import db
from app.core.errors import Conflict, NotFound
from app.core.http.access import current_actor
from app.core.values import utcnow
from app.imports.map.tables import Remembered, Table
from app.imports.mappings.models import ImportMapping
from app.imports.models import Import

MOST_MAPPINGS = 100
"""Mappings of one user."""

mappings = ImportMapping.__table__


class TooManyMappings(Conflict):
    reason, message = "too_many_mappings", f"Nobody can have more than {MOST_MAPPINGS} mappings: delete one first."


def own_mappings() -> Sequence[ImportMapping]:
    """The acting user's mappings by name."""
    mine = ImportMapping.user_id == current_actor().id
    return db.session.scalars(sa.select(ImportMapping).where(mine).order_by(mappings.c.name)).all()


def find(name: str) -> ImportMapping | None:
    """The acting user's mapping of a name."""
    return db.session.scalar(
        sa.select(ImportMapping).where(ImportMapping.user_id == current_actor().id, ImportMapping.name == name)
    )


def forget(mapping_id: int) -> None:
    """Delete a mapping of the acting user; raises NotFound."""
    found = db.session.get(ImportMapping, mapping_id)
    if found is None or found.user_id != current_actor().id:
        raise NotFound(f"There is no mapping {mapping_id}.")
    db.session.delete(found)


def remember(name: str, mapping: dict[str, Any], import_id: int) -> None:
    """Keep a mapping under a name, in place of another; the import's plan learns which sheets it is for."""
    kept = find(name)
    if kept is None:
        if len(own_mappings()) >= MOST_MAPPINGS:
            raise TooManyMappings
        kept = ImportMapping(user_id=current_actor().id, name=name)
        db.session.add(kept)
    kept.mapping, kept.sheets, kept.import_id = mapping, {}, import_id


def recall(job: Import) -> dict[str, Remembered]:
    """What the import's owner has remembered, by the signature of a header; nothing where the request says its own."""
    if job.mapping:
        return {}
    found = sa.select(ImportMapping).where(ImportMapping.user_id == job.created_by_id).order_by(mappings.c.id)
    return {
        signature: Remembered(kept.id, kept.name, resource, kept.mapping)
        for kept in db.session.scalars(found)
        for signature, resource in kept.sheets.items()
    }


def learn(job: Import, tables: Sequence[Table]) -> None:
    """Note for which sheets the import's mapping was made, and which remembered ones were used."""
    used = {table.remembered.id for table in tables if table.remembered}
    if used:
        db.session.execute(sa.update(mappings).where(mappings.c.id.in_(used)).values(used_at=utcnow()))
    if job.mapping:
        sheets = {
            table.signature: table.resource.name
            for table in tables
            if any(column.title in job.mapping for column in table.columns)
        }
        db.session.execute(sa.update(mappings).where(mappings.c.import_id == job.id).values(sheets=sheets))
