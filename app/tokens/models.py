"""Personal access tokens: their hash, scopes, networks and last use."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.values import Choice
from app.users.models import User


class Scope(Choice):
    READ = "read"
    WRITE = "write"


class PersonalToken(Base):
    """A token. Its events, `token_create` and `token_revoke`, carry the MAC of its row."""

    guarded_columns = (
        "id",
        "user_id",
        "name",
        "token_hash",
        "hint",
        "scopes",
        "networks",
        "created_at",
        "expires_at",
        "revoked_at",
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), index=True)
    name: Mapped[str]
    # SHA-256 and no slow password hash: 202 random bits cannot be guessed.
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    # The last characters, by which its owner recognises the token.
    hint: Mapped[str] = mapped_column(sa.String(8))
    scopes: Mapped[list[str]]
    networks: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_ip: Mapped[str | None] = mapped_column(sa.String(45))

    __table_args__ = ({"sqlite_autoincrement": True},)
