"""A saved view: its user's own unless shared."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.values import utcnow
from app.users.models import User

MAX_QUERY = 4000


class SavedView(Base):
    """`query` is the query string of the list, as a front end writes it into its address."""

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"))
    resource: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(100))
    query: Mapped[str] = mapped_column(sa.String(MAX_QUERY))
    shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    __table_args__ = (sa.UniqueConstraint("user_id", "resource", "name"), {"sqlite_autoincrement": True})
