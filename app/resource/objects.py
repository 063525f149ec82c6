"""Objects of the session: for hand-written actions, and for models whose rules run in its flush.

Everything else is written row by row (service.py), in half the time. Flushes, so that constraints fail here; never
commits.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.core.audit.mac import get_to_change
from app.core.db.unit_of_work import db
from app.core.errors import PreconditionFailed
from app.core.http.access import current_actor
from app.core.values import MAX_ID
from app.resource.declaration import Resource
from app.resource.fields import defaults_of
from app.resource.rows import is_visible
from app.resource.schema import Sent
from app.resource.sent_back import check_sent_back
from app.resource.service import (
    changed_values,
    check_version,
    explain,
    not_found,
    read,
    require_changeable,
    require_parents,
    require_valid,
)


def get(resource: Resource, object_id: int, *, to_change: bool = False) -> Any:
    """The object by its id. With `to_change` it is locked until the transaction ends.

    Raises NotFound, and Forbidden where the acting user may not change it.
    """
    if not to_change:
        target = db.session.get(resource.model, object_id) if object_id <= MAX_ID else None
        return _require_visible(resource, object_id, target)
    target = get_locked(resource, object_id)
    require_changeable(resource, target.created_by_id)
    return target


def get_locked(resource: Resource, object_id: int) -> Any:
    """The object by its id, locked until the transaction ends, for an action with its own rule of who may do it.

    Raises NotFound.
    """
    target = get_to_change(resource.model, object_id) if object_id <= MAX_ID else None
    return _require_visible(resource, object_id, target)


def _require_visible(resource: Resource, object_id: int, target: Any) -> Any:
    if target is None or not is_visible(resource.model, target.created_by_id):
        raise not_found(resource, object_id)
    return target


def create(resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
    """Store a new object of the acting user, and answer it as its clients see it.

    Raises Invalid and Conflict, and Forbidden below another's object.
    """
    require_parents(resource, values)
    columns = changed_values(resource, defaults_of(resource.model), values)
    target = resource.model(**columns, created_by_id=current_actor().id)
    db.session.add(target)
    return read(resource, save(resource, target).id)


def change(resource: Resource, object_id: int, sent: Sent, if_match: str | None) -> dict[str, Any]:
    """Change the object with this id by the fields of a write, and answer it; raises what `service.change` raises."""
    target = get(resource, object_id, to_change=True)
    check_version(resource, target.id, target.version, if_match)
    set_fields(resource, target, sent)
    return read(resource, target.id)


def set_fields(resource: Resource, target: Any, sent: Sent) -> Any:
    """Change a locked object by the fields of a write, as `service.change` does, and flush it; see `save`.

    Raises Invalid also for a read-only field that is not sent back as it is.
    """
    if sent.read_only:
        check_sent_back(resource, sent, read(resource, target.id))
    stored = {name: getattr(target, name) for name in resource.fields}
    return update(resource, target, changed_values(resource, stored, sent))


def update(resource: Resource, target: Any, values: Mapping[str, Any]) -> Any:
    """Set the columns that are given; equal values change nothing, also not the version.

    Raises what `save` raises, and Forbidden where the object would come below another's.
    """
    require_parents(resource, values, _columns_of(target))
    for name, value in values.items():
        setattr(target, name, value)
    return save(resource, target)


def save(resource: Resource, target: Any) -> Any:
    """Write a changed object now, so that its rules answer here.

    Raises Invalid for a rule of the object, a missing reference or a CHECK constraint; Conflict for a value that is
    taken; PreconditionFailed where another transaction has changed the object meanwhile.
    """
    values = _columns_of(target)
    require_valid(resource, values)
    try:
        db.session.flush()
    except IntegrityError as error:
        db.session.rollback()
        raise explain(resource, values, error) from error
    except StaleDataError:
        db.session.rollback()
        raise PreconditionFailed(current=read(resource, values["id"])) from None
    return target


def _columns_of(target: Any) -> dict[str, Any]:
    return {column.key: getattr(target, column.key) for column in target.__table__.columns}
