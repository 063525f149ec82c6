"""The records that a user sees of what they did: without those about private objects of others.

Deleting a server detaches the tasks of others that point to it. The records are the deleter's, and name tasks that do
not exist for them.
"""

from collections.abc import Iterator

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.resource import Resource, is_visible, owners_of, sees_own_only

logs = AuditLog.__table__


def hide_private(user_id: int) -> Iterator[sa.ColumnElement[bool]]:
    """The conditions that leave out records about private objects of others."""
    for resource in CATALOG.values():
        if sees_own_only(resource.model) and (hidden := _select_hidden(resource, user_id)):
            yield sa.or_(
                logs.c.resource_type != resource.name,
                logs.c.resource_id.is_(None),
                sa.not_(any_of(logs.c.resource_id, hidden)),
            )


def _select_hidden(resource: Resource, user_id: int) -> list[int]:
    """The objects of others, existing or deleted, that the records of a user are about."""
    table = resource.model.__table__
    own = sa.exists().where(table.c.id == logs.c.resource_id, table.c.created_by_id == user_id)
    touched = sa.select(logs.c.resource_id).where(
        logs.c.user_id == user_id, logs.c.resource_type == resource.name, logs.c.resource_id.is_not(None), ~own
    )
    ids = set(db.session.scalars(touched))
    owners = owners_of(resource, ids) if ids else {}
    return [identity for identity in ids if not is_visible(resource.model, owners.get(identity))]
