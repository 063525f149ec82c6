"""Handing GPUs out and taking them back."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Forbidden, Invalid, NotFound
from app.core.http.access import current_actor
from app.core.http.envelope import Page, Pagination
from app.core.jobs.queue import enqueue
from app.core.values import utcnow
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.users.models import User

EXPIRE = "gpu_expiry"
"""The job that ends an assignment when its time is over."""


class GpuNotAvailable(Conflict):
    reason, message = "gpu_not_available", "This GPU is not available."


class GpuNotAssigned(Conflict):
    reason, message = "gpu_not_assigned", "Nobody holds this GPU."


def locked(gpu_id: int) -> Gpu:
    """The GPU, held by this transaction, so that of two who ask the second sees what the first did."""
    gpu = db.session.get(Gpu, gpu_id, with_for_update=True)
    if gpu is None:
        raise NotFound(f"There is no gpu {gpu_id}.")
    return gpu


def assign(gpu: Gpu, user_id: int, purpose: str | None, expires_at: datetime | None) -> None:
    """Give an available GPU to an active user.

    Raises GpuNotAvailable, naming the holder; Forbidden where a user gives it to somebody else; Invalid.
    """
    actor = current_actor()
    if user_id != actor.id and not actor.is_admin:
        raise Forbidden("Only administrators assign GPUs to others.", reason="not_yourself")
    if gpu.status is not GpuStatus.AVAILABLE:
        raise _not_available(gpu)
    now = utcnow()
    if expires_at is not None and expires_at <= now:
        raise Invalid(errors={"expires_at": ["Must be in the future."]})
    holder = db.session.get(User, user_id)
    if holder is None or not holder.is_active:
        raise Invalid(errors={"user_id": [f"There is no active user {user_id}."]})
    gpu.status, gpu.assigned_to_id, gpu.assigned_at = GpuStatus.ASSIGNED, holder.id, now
    assignment = GpuAssignment(
        gpu_id=gpu.id,
        user_id=holder.id,
        username=holder.username,
        assigned_by=actor.username,
        purpose=purpose,
        assigned_at=now,
        expires_at=expires_at,
    )
    db.session.add(assignment)
    db.session.flush()
    if expires_at is not None:
        enqueue(EXPIRE, assignment.id, due_at=expires_at)


def release(gpu: Gpu) -> None:
    """Take a GPU back; raises GpuNotAssigned, and Forbidden for another's."""
    actor = current_actor()
    if gpu.status is not GpuStatus.ASSIGNED:
        raise GpuNotAssigned()
    if gpu.assigned_to_id != actor.id and not actor.is_admin:
        raise Forbidden("Only its holder and administrators release a GPU.", reason="not_holder")
    hand_back(gpu, actor.username)


def hand_back(gpu: Gpu, released_by: str) -> None:
    """Make a locked GPU available again and end its assignment."""
    gpu.status, gpu.assigned_to_id, gpu.assigned_at = GpuStatus.AVAILABLE, None, None
    active = sa.select(GpuAssignment).where(GpuAssignment.gpu_id == gpu.id, GpuAssignment.released_at.is_(None))
    # A GPU that was deleted and brought back has lost its assignments, and is released all the same.
    for assignment in db.session.scalars(active):
        assignment.released_at, assignment.released_by = utcnow(), released_by
    db.session.flush()


def assignments(gpu_id: int, page: int, page_size: int) -> Page:
    """Who has held the GPU, the latest first; raises NotFound."""
    if db.session.scalar(sa.select(Gpu.id).where(Gpu.id == gpu_id)) is None:
        raise NotFound(f"There is no gpu {gpu_id}.")
    table = GpuAssignment.__table__
    held = sa.select(table).where(table.c.gpu_id == gpu_id)
    total = db.session.scalar(sa.select(sa.func.count()).select_from(held.subquery()))
    latest = held.order_by(table.c.id.desc()).limit(page_size).offset((page - 1) * page_size)
    rows = db.session.execute(latest).mappings()
    return Page([_render(dict(row)) for row in rows], Pagination(page, page_size, total))


def _render(row: dict[str, Any]) -> dict[str, Any]:
    identity = row.pop("user_id")
    row["user"] = None if identity is None else {"id": identity, "name": row["username"]}
    return row


def _not_available(gpu: Gpu) -> GpuNotAvailable:
    if gpu.assigned_to_id is None:
        return GpuNotAvailable(f"This GPU is {gpu.status.value}.")
    holder = db.session.get(User, gpu.assigned_to_id)
    assert holder is not None
    return GpuNotAvailable(f"{holder.username} holds this GPU.", holder={"id": holder.id, "name": holder.username})
