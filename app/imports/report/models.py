"""The report of an import: the marked workbook, or the state of making it."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.values import Choice, utcnow
from app.imports.models import Import


class ReportStatus(Choice):
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"


class ImportReport(Base):
    """Made at the first request in a language, since most imports have no errors and need no report."""

    import_id: Mapped[int] = mapped_column(
        Id, sa.ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # Of its comments and statuses.
    language: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    status: Mapped[ReportStatus]
    content: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    # When it got its status.
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)
