"""A report as it was made, kept with its import."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.column_types import Id
from app.core.db.models import Base
from app.core.values import utcnow
from app.imports.models import Import


class ImportReport(Base):
    """The marked workbook of an import: made when it is first asked for, since most are never asked for."""

    __tablename__ = "import_reports"

    import_id: Mapped[int] = mapped_column(
        Id, sa.ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
