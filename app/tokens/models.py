"""What a script signs in with, as far as we keep it: a hash, and what it opens."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.column_types import Id
from app.core.db.models import Base
from app.core.values import Choice
from app.users.models import User


class Scope(Choice):
    READ = "read"
    WRITE = "write"


class PersonalToken(Base):
    __tablename__ = "personal_tokens"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), index=True)
    name: Mapped[str]
    # Random enough that a fast hash protects it: nobody guesses 160 bits.
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    # The last characters, by which its owner recognises it.
    hint: Mapped[str] = mapped_column(sa.String(8))
    scopes: Mapped[list[str]]
    networks: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_ip: Mapped[str | None] = mapped_column(sa.String(45))

    __table_args__ = ({"sqlite_autoincrement": True},)
