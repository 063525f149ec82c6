"""Assigning GPUs to users, extending and releasing that, and the history of assignments."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Forbidden, Invalid
from app.core.http.access import Actor, current_actor
from app.core.http.envelope import Page
from app.core.http.paging import fetch_page
from app.core.jobs.queue import enqueue
from app.core.messages import tr
from app.core.values import utcnow
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.servers.models import Server, ServerStatus
from app.users.models import User

EXPIRY_JOB = "gpu_expiry"
"""The job that releases a GPU when its assignment expires."""

gpus, assignments = Gpu.__table__, GpuAssignment.__table__


class GpuNotAvailable(Conflict):
    reason, message = "gpu_not_available", tr("This GPU is not available.")


class GpuNotAssigned(Conflict):
    reason, message = "gpu_not_assigned", tr("Nobody holds this GPU.")


class NotYourself(Forbidden):
    reason, message = "not_yourself", tr("Only administrators may assign a GPU to another user.")


class NotHolder(Forbidden):
    reason, message = "not_holder", tr("Only its holder and administrators may release a GPU or extend its assignment.")


def may_assign(_: Actor, gpu: Any) -> bool:
    """Whether a GPU may be assigned: by everybody, users to themselves and administrators to anyone."""
    return gpu.status is GpuStatus.AVAILABLE


def may_release(actor: Actor, gpu: Any) -> bool:
    """Whether a user may release a GPU."""
    return gpu.status is GpuStatus.ASSIGNED and (actor.is_admin or gpu.assigned_to_id == actor.id)


def assign(gpu: Gpu, user_id: int, purpose: str | None, expires_at: datetime | None) -> None:
    """Assign an available GPU, which is locked, to an active user.

    Raises GpuNotAvailable, which names the holder, or the server that is not active; Forbidden if a user assigns it
    to somebody else; Invalid.
    """
    actor = _require_own_or_admin(user_id)
    if not may_assign(actor, gpu):
        raise _not_available(gpu)
    server = db.session.get(Server, gpu.server_id)
    if server is not None and server.status is not ServerStatus.ACTIVE:
        shown = {"id": server.id, "name": server.name}
        raise GpuNotAvailable(
            tr("Its server {server} is not active but {status}.", server=server.name, status=server.status.value),
            server=shown,
        )
    now = utcnow()
    _require_future(expires_at, now)
    holder = _active_user(user_id)
    gpu.status, gpu.assigned_to_id, gpu.assigned_at = GpuStatus.ASSIGNED, holder.id, now
    gpu.purpose, gpu.expires_at = purpose, expires_at
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
        enqueue(EXPIRY_JOB, assignment.id, due_at=expires_at)


def check_assignment(user_id: int, expires_at: datetime | None) -> None:
    """Refuse an assignment of whatever GPU; raises Forbidden and Invalid as `assign` does."""
    _require_own_or_admin(user_id)
    check_end(expires_at)
    _active_user(user_id)


def check_end(expires_at: datetime | None) -> None:
    """Refuse an end that has passed; raises Invalid."""
    _require_future(expires_at, utcnow())


def extend(gpu: Gpu, expires_at: datetime | None) -> None:
    """Let the assignment of a GPU, which is locked, end at another time, or never.

    Raises GpuNotAssigned, Forbidden if another user holds it, and Invalid.
    """
    _require_holder(gpu)
    check_end(expires_at)
    gpu.expires_at = expires_at
    for assignment in _active_assignments(gpu):
        assignment.expires_at = expires_at
        if expires_at is not None:
            # The job of the former end waits on, or finds the GPU released.
            enqueue(EXPIRY_JOB, assignment.id, due_at=expires_at)
    db.session.flush()


def release(gpu: Gpu) -> None:
    """Release a GPU, which is locked; raises GpuNotAssigned, and Forbidden if another user holds it."""
    end_assignment(gpu, _require_holder(gpu).username)


def end_assignment(gpu: Gpu, released_by: str) -> None:
    """End the active assignment of a locked GPU and make it available."""
    gpu.status, gpu.assigned_to_id, gpu.assigned_at = GpuStatus.AVAILABLE, None, None
    gpu.purpose = gpu.expires_at = None
    for assignment in _active_assignments(gpu):
        assignment.released_at, assignment.released_by = utcnow(), released_by
    db.session.flush()


def resume_assignments(gpu_ids: Collection[int]) -> None:
    """Continue the open assignments of GPUs that were deleted and have just been restored.

    A GPU that came back without its holder, who has been deleted, is available: its assignment ends now. The others
    expire when they were to, or at once if that time has passed.
    """
    restored = sa.select(
        gpus.c.id, gpus.c.assigned_to_id, assignments.c.id.label("assignment_id"), assignments.c.expires_at
    )
    resumed = restored.join(assignments, assignments.c.gpu_id == gpus.c.id)
    rows = db.session.execute(resumed.where(any_of(gpus.c.id, gpu_ids), assignments.c.released_at.is_(None))).all()
    abandoned = [row.assignment_id for row in rows if row.assigned_to_id is None]
    ended = {"released_at": utcnow(), "released_by": current_actor().username}
    db.session.execute(sa.update(assignments).where(any_of(assignments.c.id, abandoned)).values(ended))
    for row in rows:
        if row.assigned_to_id is not None and row.expires_at is not None:
            enqueue(EXPIRY_JOB, row.assignment_id, due_at=row.expires_at)


def select_assignments(gpu_id: int, page: int, page_size: int) -> Page:
    """A page of a GPU's assignments, the latest first."""
    of_gpu = sa.select(assignments).where(assignments.c.gpu_id == gpu_id)
    return fetch_page(of_gpu.order_by(assignments.c.id.desc()), page, page_size, _render)


def _require_own_or_admin(user_id: int) -> Actor:
    """The acting user, who assigns to themselves or is an administrator; raises NotYourself."""
    actor = current_actor()
    if user_id != actor.id and not actor.is_admin:
        raise NotYourself()
    return actor


def _active_user(user_id: int) -> User:
    user = db.session.get(User, user_id)
    if user is None or not user.is_active:
        raise Invalid(errors={"user_id": [tr("There is no active user {user_id}.", rule="reference", user_id=user_id)]})
    return user


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise Invalid(errors={"expires_at": [tr("Must be in the future.", rule="future")]})


def _require_holder(gpu: Gpu) -> Actor:
    """The acting user, who holds the GPU or is an administrator; raises GpuNotAssigned and NotHolder."""
    actor = current_actor()
    if not may_release(actor, gpu):
        raise NotHolder() if gpu.status is GpuStatus.ASSIGNED else GpuNotAssigned()
    return actor


def _active_assignments(gpu: Gpu) -> Sequence[GpuAssignment]:
    """The open assignment of a GPU, if it has one."""
    active = sa.select(GpuAssignment).where(GpuAssignment.gpu_id == gpu.id, GpuAssignment.released_at.is_(None))
    return db.session.scalars(active).all()


def _render(row: dict[str, Any]) -> dict[str, Any]:
    user_id = row.pop("user_id")
    row["user"] = None if user_id is None else {"id": user_id, "name": row["username"]}
    return row


def _not_available(gpu: Gpu) -> GpuNotAvailable:
    if gpu.assigned_to_id is None:
        return GpuNotAvailable(tr("This GPU is {status}.", status=gpu.status.value))
    holder = db.session.get(User, gpu.assigned_to_id)
    assert holder is not None
    return GpuNotAvailable(
        tr("{holder} holds this GPU.", holder=holder.username), holder={"id": holder.id, "name": holder.username}
    )
