"""Links for setting a new password, each of which works once."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.audit.declaration import WithMac
from app.core.db.models import Base, Id
from app.users.models import User


class PasswordReset(WithMac, Base):
    """A password reset link, valid until it is used, expires, or the password changes."""

    guarded_columns = ("user_id", "token_hash", "password_version", "created_at", "expires_at")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    password_version: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    __table_args__ = ({"sqlite_autoincrement": True},)
