"""A saved mapping: its user's own unless shared, found by the titles of the sheets that it was made for."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id, Json
from app.core.values import utcnow
from app.imports.models import Import
from app.users.models import User


class ImportMapping(Base):
    """`sheets` holds, of each sheet that it was made for, what `service.learn_sheets` stores."""

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sa.String(100))
    mapping: Mapped[dict[str, Any]] = mapped_column(Json)
    sheets: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    shared: Mapped[bool] = mapped_column(default=False)
    # The import whose plan fills in `sheets`; none once it has.
    import_id: Mapped[int | None] = mapped_column(Id, sa.ForeignKey(Import.id, ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    used_at: Mapped[datetime | None]

    __table_args__ = (sa.UniqueConstraint("user_id", "name"), {"sqlite_autoincrement": True})
