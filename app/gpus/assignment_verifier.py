"""Verification of the history of assignments: it must be the one that the audit records of the GPUs tell."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from app.core.audit.mac import canonical_time
from app.core.audit.models import STORED
from app.core.values import as_json
from app.gpus.models import Gpu, GpuAssignment
from app.proof.report import FindingKind, Report
from app.users.models import User

TOLERANCE = timedelta(minutes=1)
"""The most by which the end of an assignment and its record may differ: both clocks are read in one transaction."""
FETCH_ROWS = 2_000

assignments = GpuAssignment.__table__
logs = STORED.c
_END: tuple[Any, list[Any]] = (float("inf"), [])


@dataclass(slots=True)
class Episode:
    """One assignment as the records tell it."""

    user_id: int
    assigned_by: str | None
    assigned_at: str
    purpose: str | None
    expires_at: str | None
    released_by: str | None = None
    released_at: datetime | None = None


class Holder(NamedTuple):
    """A user as the records tell it: the usernames, and whether the user was ever deleted."""

    names: set[str]
    was_deleted: bool


HolderOf = Callable[[int], Holder]


def compare_assignments(connection: sa.Connection, report: Report) -> None:
    """Report each assignment that the records of its GPU do not tell, and each of theirs that is missing."""
    holder_of = functools.cache(lambda user_id: _holder(connection, user_id))
    rows, recorded = _select_rows(connection), _select_episodes(connection)
    row_gpu, of_gpu = next(rows, _END)
    told_gpu, episodes = next(recorded, _END)
    while of_gpu or episodes:
        gpu_id = min(row_gpu, told_gpu)
        _compare(gpu_id, of_gpu if row_gpu == gpu_id else [], episodes if told_gpu == gpu_id else [], holder_of, report)
        if row_gpu == gpu_id:
            row_gpu, of_gpu = next(rows, _END)
        if told_gpu == gpu_id:
            told_gpu, episodes = next(recorded, _END)


def _compare(
    gpu_id: Any, rows: Sequence[Any], episodes: Sequence[Episode], holder_of: HolderOf, report: Report
) -> None:
    unmatched = {episode.assigned_at: episode for episode in episodes}
    for row in rows:
        episode = unmatched.pop(as_json(row.assigned_at), None)
        details: dict[str, Any] = {"resource_type": assignments.name, "resource_id": row.id}
        if episode is None:
            report.add(FindingKind.ROW_INSERTED, f"No record of GPU {gpu_id} tells this assignment.", **details)
        elif differing := list(_differing(row, episode, holder_of(episode.user_id))):
            message = f"The assignment differs from the records of GPU {gpu_id} in {', '.join(differing)}."
            report.add(FindingKind.ROW_CHANGED, message, **details)
    for episode in unmatched.values():
        message = f"The assignment of GPU {gpu_id} at {episode.assigned_at} is missing."
        report.add(FindingKind.ROW_MISSING, message, resource_type=assignments.name)


def _differing(row: Any, episode: Episode, holder: Holder) -> Iterator[str]:
    for name in ("assigned_by", "purpose", "expires_at", "released_by"):
        if as_json(getattr(row, name)) != getattr(episode, name):
            yield name
    # Null after the user was deleted, also if the user was restored then.
    if row.user_id != episode.user_id and not (row.user_id is None and holder.was_deleted):
        yield "user_id"
    if row.username not in holder.names:
        yield "username"
    if (row.released_at is None) != (episode.released_at is None) or (
        row.released_at and episode.released_at and abs(row.released_at - episode.released_at) > TOLERANCE
    ):
        yield "released_at"


def _select_rows(connection: sa.Connection) -> Iterator[tuple[Any, list[Any]]]:
    statement = sa.select(assignments).order_by(assignments.c.gpu_id, assignments.c.id)
    rows = connection.execution_options(yield_per=FETCH_ROWS).execute(statement)
    for gpu_id, of_gpu in groupby(rows, key=lambda row: row.gpu_id):
        yield gpu_id, list(of_gpu)


def _select_episodes(connection: sa.Connection) -> Iterator[tuple[Any, list[Episode]]]:
    """The assignments of each GPU that has had any, in the order of the GPUs' ids."""
    time = sa.type_coerce(logs.created_at, sa.types.NullType())
    is_about_holder = sa.or_(
        logs.changes.contains('"assigned_at"'),
        logs.changes.contains('"expires_at"'),
        logs.action.in_(("delete", "restore")),
    )
    statement = (
        sa.select(logs.resource_id, logs.action, logs.username, time, logs.changes)
        .where(logs.resource_type == Gpu.__tablename__, logs.version.is_not(None), is_about_holder)
        .order_by(logs.resource_id, logs.version)
    )
    records = connection.execution_options(yield_per=FETCH_ROWS).execute(statement)
    for gpu_id, of_gpu in groupby(records, key=itemgetter(0)):
        try:
            if episodes := _episodes(of_gpu):
                yield gpu_id, episodes
        except (ValueError, KeyError, TypeError, AttributeError):
            # A record is damaged; the verification of the tree reports it.
            continue


def _episodes(records: Iterator[Any]) -> list[Episode]:
    episodes: list[Episode] = []
    is_open = is_deleted = False
    for _, action, username, time, text in records:
        if action == "delete":
            # The assignment stays open, and goes on with the restored GPU.
            is_deleted = True
            continue
        changes = {name: change["new"] for name, change in orjson.loads(text).items()}
        if "assigned_at" not in changes and not is_deleted:
            if is_open and "expires_at" in changes:
                episodes[-1].expires_at = changes["expires_at"]
            continue
        is_deleted, assigned_at = False, changes.get("assigned_at")
        if is_open and assigned_at != episodes[-1].assigned_at:
            episodes[-1].released_by = username
            episodes[-1].released_at = datetime.fromisoformat(canonical_time(time))
            is_open = False
        if assigned_at is not None and not is_open:
            facts = changes["assigned_to_id"], username, assigned_at, changes.get("purpose"), changes.get("expires_at")
            episodes.append(Episode(*facts))
            is_open = True
    return episodes


def _holder(connection: sa.Connection, user_id: int) -> Holder:
    is_telling = sa.or_(logs.changes.contains('"username"'), logs.action == "delete")
    recorded = sa.select(logs.action, logs.changes).where(
        logs.resource_type == User.__tablename__, logs.resource_id == user_id, logs.version.is_not(None), is_telling
    )
    records = connection.execute(recorded).all()
    changes = (orjson.loads(text).get("username", {}) for _, text in records)
    names = {change["new"] for change in changes if "new" in change}
    return Holder(names, any(action == "delete" for action, _ in records))
