"""An import: its uploaded file, its plan in parts, and its status."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.column_types import Id, Json, JsonText
from app.core.db.models import Base
from app.core.db.unit_of_work import db
from app.core.values import Choice, utcnow
from app.users.models import User


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


CANCELLABLE = (
    ImportStatus.QUEUED,
    ImportStatus.VALIDATING,
    ImportStatus.READY,
    ImportStatus.INVALID,
    ImportStatus.APPLYING,
)
PENDING = (ImportStatus.QUEUED, ImportStatus.VALIDATING, ImportStatus.APPLYING)
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


class Import(Base):
    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    status: Mapped[ImportStatus] = mapped_column(default=ImportStatus.QUEUED)
    filename: Mapped[str]
    resource: Mapped[str | None] = mapped_column(sa.String(64))
    mode: Mapped[ImportMode] = mapped_column(default=ImportMode.UPSERT)
    match: Mapped[str | None] = mapped_column(sa.String(64))
    mapping: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    extra: Mapped[ExtraColumns] = mapped_column(default=ExtraColumns.KEEP)
    apply_at_once: Mapped[bool] = mapped_column(default=False)
    on_error: Mapped[OnError] = mapped_column(default=OnError.ABORT)
    # All audit records of the import have this one, however many requests it takes.
    request_id: Mapped[str] = mapped_column(sa.String(64))
    phase: Mapped[str] = mapped_column(sa.String(16), default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    sheets: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # Why it is invalid, has failed or cannot be reverted: {"reason", "message", …}.
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


def change_status(import_id: int, allowed: Collection[ImportStatus], to: ImportStatus, **values: Any) -> bool:
    """Change the status of an import from one of the allowed ones, and other columns, in the current transaction.

    Returns whether it had an allowed status: a compare-and-set, so that of two concurrent changes one is refused.
    """
    table = Import.__table__
    statement = sa.update(table).where(table.c.id == import_id, table.c.status.in_(allowed))
    return db.session.connection().execute(statement.values(status=to, **values)).rowcount == 1


class ImportFile(Base):
    """The uploaded bytes, written in the transaction of their import."""

    __tablename__ = "import_files"

    import_id: Mapped[int] = mapped_column(
        Id, sa.ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)


class ImportPart(Base):
    """Successive rows of one sheet's plan in one database row, because they are written and read together.

    `rows` is JSON: a list of lists in the order of `plan.store.PlannedRow`. The counts are those of its rows by action.
    """

    __tablename__ = "import_parts"

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
    # The ids of the objects that its rows have created, in their order; null until the plan is applied.
    created_ids: Mapped[list[int] | None] = mapped_column(JsonText)
