"""An import: the uploaded file, the plan made of it row by row, and how far it has come."""

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


class Mode(Choice):
    """What an import may do: both, only create, only change."""

    UPSERT = "upsert"
    CREATE = "create"
    UPDATE = "update"


class Extra(Choice):
    """What becomes of a column that is nobody's field."""

    KEEP = "keep"
    IGNORE = "ignore"
    REFUSE = "refuse"


class OnError(Choice):
    """What becomes of the right rows of a plan that has wrong ones."""

    ABORT = "abort"
    SKIP = "skip"


class Action(Choice):
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
    mode: Mapped[Mode] = mapped_column(default=Mode.UPSERT)
    match: Mapped[str | None] = mapped_column(sa.String(64))
    mapping: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    extra: Mapped[Extra] = mapped_column(default=Extra.KEEP)
    apply_at_once: Mapped[bool] = mapped_column(default=False)
    on_error: Mapped[OnError] = mapped_column(default=OnError.ABORT)
    # Every record of the import carries this one, however many requests it took.
    request_id: Mapped[str] = mapped_column(sa.String(64))
    phase: Mapped[str] = mapped_column(sa.String(16), default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    sheets: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # Why it is invalid, has failed or cannot be undone: {"reason", "message", …}.
    problem: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # What undoing it has done: {"removed": {resource: count}, "restored": {resource: count}}.
    reversal: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
    created_by_id: Mapped[int | None] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="SET NULL"), index=True)

    __table_args__ = ({"sqlite_autoincrement": True},)


def move(import_id: int, allowed: Collection[ImportStatus], to: ImportStatus, **values: Any) -> bool:
    """Bring an import from one of the allowed states into another, in the current transaction.

    Answers whether it was still in one of them: of two that want different things of it, one is refused.
    """
    table = Import.__table__
    moved = sa.update(table).where(table.c.id == import_id, table.c.status.in_(allowed)).values(status=to, **values)
    return db.session.connection().execute(moved).rowcount == 1


class ImportFile(Base):
    """The uploaded bytes, stored with the import so that neither is ever there without the other."""

    __tablename__ = "import_files"

    import_id: Mapped[int] = mapped_column(
        Id, sa.ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)


class ImportPart(Base):
    """Successive rows of one sheet's plan, together because they are written and read together.

    `rows` is JSON: a list of lists in the order of `parts.PlannedRow`. The counts say how many rows do what.
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
    # The ids of the objects that its rows have created, in their order; null until then.
    created_ids: Mapped[list[int] | None] = mapped_column(JsonText)
