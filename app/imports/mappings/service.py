"""Saved mappings of columns: save, list and delete them; the pipeline finds those for the titles of an upload."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.unit_of_work import db
from app.core.errors import Conflict, NotFound
from app.core.http.access import current_actor
from app.core.messages import tr
from app.imports.mappings.models import ImportMapping

MAX_MAPPINGS = 100
"""Saved mappings of one user."""

mappings = ImportMapping.__table__


class TooManyMappings(Conflict):
    reason, message = (
        "too_many_mappings",
        tr("A user can save at most {max} mappings: delete one first.", max=MAX_MAPPINGS),
    )


def own_mappings() -> Sequence[ImportMapping]:
    """The acting user's mappings by name."""
    own = sa.select(ImportMapping).where(ImportMapping.user_id == current_actor().id)
    return db.session.scalars(own.order_by(mappings.c.name)).all()


def find(name: str) -> ImportMapping | None:
    """The acting user's mapping of a name."""
    return db.session.scalar(
        sa.select(ImportMapping).where(ImportMapping.user_id == current_actor().id, ImportMapping.name == name)
    )


def delete(mapping_id: int) -> None:
    """Delete a mapping of the acting user; raises NotFound."""
    mapping = db.session.get(ImportMapping, mapping_id)
    if mapping is None or mapping.user_id != current_actor().id:
        raise NotFound(tr("There is no mapping {mapping_id}.", mapping_id=mapping_id))
    db.session.delete(mapping)


def save(name: str, mapping: dict[str, Any], import_id: int) -> None:
    """Save a mapping under a name, replacing one of the same name; the import's plan learns its sheets."""
    saved = find(name)
    if saved is None:
        if len(own_mappings()) >= MAX_MAPPINGS:
            raise TooManyMappings
        saved = ImportMapping(user_id=current_actor().id, name=name)
        db.session.add(saved)
    saved.mapping, saved.sheets, saved.import_id = mapping, {}, import_id
