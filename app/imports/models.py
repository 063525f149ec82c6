"""An import: its uploaded file, its plan in parts, its status, and its progress while a job works on it.

Progress, and requests to stop, go through the cache because the work is one transaction: nothing that it writes shows
before it commits, and SQLite lets nobody else write meanwhile. Without the cache an import works the same, shows less
and stops later.
"""

import time
from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.cache import generations
from app.core.db.models import Base, Id, Json, JsonText
from app.core.db.unit_of_work import db
from app.core.messages import Term, tr
from app.core.values import Choice, utcnow
from app.sheets.dates import DateOrder
from app.users.models import User

UPDATE_SECONDS = 0.25
"""Seconds between two updates of the progress."""
EXPIRY_SECONDS = 3600
_PROGRESS, _STOP = "import:{}:progress", "import:{}:stop"


class ImportStatus(Choice):
    QUEUED = "queued"
    VALIDATING = "validating"
    READY = "ready"
    INVALID = "invalid"
    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REVERTING = "reverting"
    REVERTED = "reverted"


STATUS_LABELS = {
    ImportStatus.QUEUED: Term("queued", "等待中"),
    ImportStatus.VALIDATING: Term("validating", "读取中"),
    ImportStatus.READY: Term("ready", "就绪"),
    ImportStatus.INVALID: Term("invalid", "有错误"),
    ImportStatus.APPLYING: Term("applying", "应用中"),
    ImportStatus.APPLIED: Term("applied", "已应用"),
    ImportStatus.FAILED: Term("failed", "失败"),
    ImportStatus.CANCELLED: Term("cancelled", "已取消"),
    ImportStatus.REVERTING: Term("reverting", "撤销中"),
    ImportStatus.REVERTED: Term("reverted", "已撤销"),
}
CANCELLABLE = (
    ImportStatus.QUEUED,
    ImportStatus.VALIDATING,
    ImportStatus.READY,
    ImportStatus.INVALID,
    ImportStatus.APPLYING,
)
PENDING = (ImportStatus.QUEUED, ImportStatus.VALIDATING, ImportStatus.APPLYING)
CORRECTABLE = (ImportStatus.READY, ImportStatus.INVALID, ImportStatus.FAILED)
"""States in which nothing is applied and no job runs, so that the file may be understood in another way."""
RUNNING = (*PENDING, ImportStatus.REVERTING)
"""States that a background job ends."""


class ImportMode(Choice):
    """What an import may do: create and change objects, only create, only change."""

    UPSERT = "upsert"
    CREATE = "create"
    UPDATE = "update"


class ExtraColumns(Choice):
    """What happens to a column that is not a field: kept as an attribute, ignored, or an error."""

    KEEP = "keep"
    IGNORE = "ignore"
    REFUSE = "refuse"


class OnError(Choice):
    """Whether a plan with errors is refused, or its rows without errors are applied."""

    ABORT = "abort"
    SKIP = "skip"


class RowAction(Choice):
    """What a row of the plan does to its object."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    ERROR = "error"


class ImportPhase(Choice):
    """What is being done with an import, in the order of an import; `done`: no job works on it."""

    QUEUED = "queued"
    READING = "reading"
    VALIDATING = "validating"
    PLANNING = "planning"
    STORING = "storing"
    PREPARING = "preparing"
    APPLYING = "applying"
    REVERTING = "reverting"
    DONE = "done"


PHASE_LABELS = {
    ImportPhase.QUEUED: tr("Waiting"),
    ImportPhase.READING: tr("Reading the file"),
    ImportPhase.VALIDATING: tr("Reading the cells"),
    ImportPhase.PLANNING: tr("Comparing with the stored objects"),
    ImportPhase.STORING: tr("Storing the plan"),
    ImportPhase.PREPARING: tr("Preparing the new objects"),
    ImportPhase.APPLYING: tr("Applying the plan"),
    ImportPhase.REVERTING: tr("Reverting the import"),
    ImportPhase.DONE: tr("Done"),
}
PHASES_OF = {
    ImportStatus.QUEUED: (ImportPhase.QUEUED,),
    ImportStatus.VALIDATING: (
        ImportPhase.READING,
        ImportPhase.VALIDATING,
        ImportPhase.PLANNING,
        ImportPhase.STORING,
    ),
    ImportStatus.APPLYING: (ImportPhase.PREPARING, ImportPhase.APPLYING),
    ImportStatus.REVERTING: (ImportPhase.REVERTING,),
}
"""The phases of each status in which a job works."""


class Import(Base):
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    status: Mapped[ImportStatus] = mapped_column(default=ImportStatus.QUEUED)
    filename: Mapped[str]
    resource: Mapped[str | None] = mapped_column(sa.String(64))
    mode: Mapped[ImportMode] = mapped_column(default=ImportMode.UPSERT)
    match: Mapped[str | None] = mapped_column(sa.String(64))
    mapping: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    extra: Mapped[ExtraColumns] = mapped_column(default=ExtraColumns.KEEP)
    # Of delimited text, and of dates such as 03/04/2027; null, both are found out.
    encoding: Mapped[str | None] = mapped_column(sa.String(32))
    dates: Mapped[DateOrder | None]
    # What people have set since about how the file is understood: JSON of settings.ImportSettings.
    settings: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    # Grows with each change of the settings, and with it of the plan.
    revision: Mapped[int] = mapped_column(default=1)
    apply_at_once: Mapped[bool] = mapped_column(default=False)
    on_error: Mapped[OnError] = mapped_column(default=OnError.ABORT)
    # Whether the platform itself made the file: the sample estate of app.demo.
    is_sample: Mapped[bool] = mapped_column(default=False)
    # All audit records of the import have this one, however many requests it takes.
    request_id: Mapped[str] = mapped_column(sa.String(64))
    phase: Mapped[ImportPhase] = mapped_column(default=ImportPhase.QUEUED)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    sheets: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # Why it is invalid, has failed, was applied in part or cannot be reverted: {"reason", "message", …}; its messages
    # are in no language yet.
    problem: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # What the revert did: {"removed": {resource: count}, "restored": {resource: count}}.
    reversal: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
    created_by_id: Mapped[int | None] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="SET NULL"), index=True)

    __table_args__ = ({"sqlite_autoincrement": True},)

    @property
    def changed_rows(self) -> int:
        """The number of rows that create or change an object."""
        return sum(sheet["create"] + sheet["update"] for sheet in self.sheets)


def change_status(
    import_id: int,
    allowed: Collection[ImportStatus],
    to: ImportStatus,
    *,
    planned_revision: int | None = None,
    **values: Any,
) -> bool:
    """Change the status of an import from one of the allowed ones, and other columns, in the current transaction.

    Returns whether it had an allowed status, and still has the revision that was planned: a compare-and-set, so that
    of two concurrent changes one is refused.
    """
    table = Import.__table__
    statement = sa.update(table).where(table.c.id == import_id, table.c.status.in_(allowed))
    if planned_revision is not None:
        statement = statement.where(table.c.revision == planned_revision)
    return db.session.connection().execute(statement.values(status=to, **values)).rowcount == 1


class ImportFile(Base):
    """The uploaded bytes, written in the transaction of their import."""

    import_id: Mapped[int] = mapped_column(
        Id, sa.ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)


class ImportPart(Base):
    """Successive rows of one sheet's plan in one database row, because they are written and read together.

    `rows` is JSON: a list of lists in the order of `plan.store.PlannedRow`. The counts are those of its rows by action.
    """

    import_id: Mapped[int] = mapped_column(
        Id, sa.ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # The position of the first row, counted over all sheets.
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sheet: Mapped[str]
    resource: Mapped[str] = mapped_column(sa.String(64))
    rows: Mapped[str] = mapped_column(sa.Text)
    create: Mapped[int]
    update: Mapped[int]
    unchanged: Mapped[int]
    error: Mapped[int]
    # The number of its rows with warnings.
    warned: Mapped[int]
    # The ids of the objects that its rows have created, in their order; null until the plan is applied.
    created_ids: Mapped[list[int] | None] = mapped_column(JsonText)


class Stopped(Exception):
    """The import has been cancelled."""


class Progress:
    """The number of rows that a phase of an import has processed, of how many; 0: it is not known of how many."""

    def __init__(self, import_id: int, phase: ImportPhase, total: int, *, may_stop: bool = True) -> None:
        self._may_stop = may_stop
        self._import_id = import_id
        self._phase = phase
        self._total = total
        self._done = 0
        # Work that no row shows may come before the first ones, so the clock starts with them.
        self._first: tuple[float, int] | None = None
        self._updated = 0.0
        self._update()

    def advance(self, rows: int) -> None:
        """Count further rows as processed; raises Stopped where the import has been cancelled."""
        self.reach(self._done + rows, self._total)

    def reach(self, done: int, total: int) -> None:
        """Set how many rows have been processed of how many, 0 if that is not known; raises Stopped like `advance`."""
        self._done, self._total = done, total
        if self._first is None and done:
            self._first = time.monotonic(), done
        if time.monotonic() - self._updated >= UPDATE_SECONDS:
            self._update()

    def _update(self) -> None:
        self._updated = time.monotonic()
        started, first = self._first or (self._updated, 0)
        seconds, rows = self._updated - started, self._done - first
        rate = rows / seconds if rows and seconds else None
        # A file may have more rows than it says.
        total = self._total if self._done <= self._total else 0
        left = (total - self._done) / rate if rate and total else None
        progress = {
            "phase": self._phase.value,
            "done": self._done,
            "total": total,
            "rows_per_second": None if rate is None else round(rate),
            "seconds_left": None if left is None else round(left, 1),
        }
        generations.remember(_PROGRESS.format(self._import_id), progress, EXPIRY_SECONDS)
        if self._may_stop and generations.recall(_STOP.format(self._import_id)):
            raise Stopped


def last_progress(import_id: int) -> dict[str, Any] | None:
    """The progress that the import's job has last shown."""
    progress = generations.recall(_PROGRESS.format(import_id))
    return progress if isinstance(progress, dict) else None


def request_stop(import_id: int) -> None:
    generations.remember(_STOP.format(import_id), 1, EXPIRY_SECONDS)


def forget_earlier(import_id: int) -> None:
    """Forget what the cache knows of an import that had this id in a database which this one has replaced."""
    for key in (_PROGRESS, _STOP):
        generations.remember(key.format(import_id), None, EXPIRY_SECONDS)
