"""Handing over what a user owns, and the GPUs that a user holds."""

from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.db.unit_of_work import db, unit_of_work
from app.core.errors import Invalid
from app.core.http.access import current_actor
from app.core.messages import tr
from app.gpus.models import Gpu
from app.gpus.service import end_assignment
from app.imports.models import Import
from app.resource import Resource
from app.resource.bulk import writer
from app.servers.models import Server
from app.users.models import User

imports = Import.__table__


def transfer(owner: User, to: int) -> dict[str, int]:
    """Make another active user the owner of all objects of a user; returns their number by resource. Raises Invalid.

    Each object has its record of that. Resources are locked in the order of the catalog, objects in that of their ids.
    """
    new_owner = db.session.get(User, to)
    if new_owner is None or not new_owner.is_active or to == owner.id:
        raise Invalid(errors={"to": [tr("There is no other active user {to}.", rule="reference", to=to)]})
    counts = {name: _transfer(resource, owner.id, to) for name, resource in CATALOG.items()}
    own_imports = sa.update(imports).where(imports.c.created_by_id == owner.id).values(created_by_id=to)
    counts["imports"] = len(db.session.scalars(own_imports.returning(imports.c.id)).all())
    return {name: count for name, count in counts.items() if count}


def _transfer(resource: Resource, owner_id: int, to: int) -> int:
    model = resource.model
    if model.orm_only:
        own = sa.select(model).where(model.created_by_id == owner_id).order_by(model.id).with_for_update()
        objects = db.session.scalars(own).all()
        for each in objects:
            each.created_by_id = to
        db.session.flush()
        return len(objects)
    table = model.__table__
    columns = (table.c.id, table.c.version, table.c[model.label])
    rows = db.session.execute(
        sa.select(*columns).where(table.c.created_by_id == owner_id).order_by(table.c.id).with_for_update()
    )
    old, new = {"created_by_id": owner_id}, {"created_by_id": to}
    changes = [writer.Change(identity, version, str(label), old=old, new=new) for identity, version, label in rows]
    writer.update(model, changes, action="transfer")
    return len(changes)


def held_gpus(user_id: int, *, release: bool) -> list[dict[str, Any]]:
    """The GPUs that a user holds; with `release` they are available from now on."""
    statement = sa.select(Gpu, Server.name).join(Server, Server.id == Gpu.server_id)
    held = db.session.execute(
        statement.where(Gpu.assigned_to_id == user_id).order_by(Gpu.id).with_for_update(of=Gpu)
    ).all()
    shown = [_render(gpu, server, is_released=release) for gpu, server in held]
    if release:
        unit_of_work().transaction.action = "release"
        for gpu, _ in held:
            end_assignment(gpu, current_actor().username)
    return shown


def _render(gpu: Gpu, server: str, *, is_released: bool) -> dict[str, Any]:
    return {
        "id": gpu.id,
        "model": gpu.model,
        "server": {"id": gpu.server_id, "name": server},
        "purpose": gpu.purpose,
        "expires_at": gpu.expires_at,
        "is_released": is_released,
    }
