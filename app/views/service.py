"""Saved views: list, save, change and delete them."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from app.catalog import readable_types
from app.core.db.unit_of_work import db
from app.core.errors import BadParameter, Conflict, Forbidden, Invalid, NotFound
from app.core.http.access import current_actor
from app.core.messages import tr
from app.users.models import User
from app.views.models import SavedView

MAX_VIEWS = 200
"""Saved views of one user."""

views = SavedView.__table__


class TooManyViews(Conflict):
    reason, message = "too_many_views", tr("A user can save at most {max} views: delete one first.", max=MAX_VIEWS)


def visible(resource: str | None) -> sa.Select[Any]:
    """The acting user's views and the shared ones, of one resource or of all, by name; raises BadRequest."""
    readable = [one.name for one in readable_types(current_actor(), resource, "resource")]
    return _of_actor().where(views.c.resource.in_(readable)).order_by(views.c.name, views.c.id)


def read(view_id: int) -> dict[str, Any]:
    """One of the views that the acting user sees; raises NotFound."""
    row = db.session.execute(_of_actor().where(views.c.id == view_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(tr("There is no view {view_id}.", view_id=view_id))
    return dict(row)


def create(values: Mapping[str, Any]) -> dict[str, Any]:
    """Save a view; raises BadRequest for an unknown resource, Invalid for a name that is taken, TooManyViews."""
    actor = current_actor()
    resource = _resource(values["resource"])
    own = sa.select(sa.func.count()).where(views.c.user_id == actor.id)
    if (db.session.scalar(own) or 0) >= MAX_VIEWS:
        raise TooManyViews
    _require_free(actor.id, resource, values["name"])
    view = SavedView(user_id=actor.id, **values)
    db.session.add(view)
    db.session.flush()
    return read(view.id)


def change(view_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename, share or replace a view; raises NotFound, Forbidden, and Invalid for a name that is taken."""
    view = _to_change(view_id)
    if "name" in values:
        _require_free(view.user_id, view.resource, values["name"], but=view_id)
    for name, value in values.items():
        setattr(view, name, value)
    db.session.flush()
    return read(view_id)


def delete(view_id: int) -> None:
    """Delete a view; raises NotFound and Forbidden."""
    db.session.delete(_to_change(view_id))


def _of_actor() -> sa.Select[Any]:
    columns = (views.c[name] for name in ("id", "resource", "name", "query", "shared", "created_at"))
    joined = sa.select(*columns, User.username.label("owner")).join_from(views, User, User.id == views.c.user_id)
    return joined.where(sa.or_(views.c.user_id == current_actor().id, views.c.shared))


def _resource(name: str) -> str:
    named = [resource.name for resource in readable_types(current_actor(), name, "resource")]
    if named != [name]:
        raise BadParameter(tr("A view is of one resource."), parameter="resource")
    return name


def _require_free(user_id: int, resource: str, name: str, but: int = 0) -> None:
    same = (views.c.user_id == user_id, views.c.resource == resource, views.c.name == name, views.c.id != but)
    if db.session.scalar(sa.select(views.c.id).where(*same)):
        raise Invalid(errors={"name": [tr("Another view has this name.", rule="unique")]})


def _to_change(view_id: int) -> SavedView:
    """A view that the acting user may change: it is theirs, or shared and they are an administrator."""
    read(view_id)
    actor, view = current_actor(), db.session.get_one(SavedView, view_id)
    if view.user_id != actor.id and not actor.is_admin:
        raise Forbidden
    return view
