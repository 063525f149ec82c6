"""Sessions, which a login begins and which end at once, and the addresses that logins came from."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.column_types import Id
from app.core.db.models import Base
from app.users.models import User


class AuthSession(Base):
    """One login. Its tokens are valid while it is: ending it ends them, whatever they say themselves."""

    __tablename__ = "auth_sessions"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), index=True)
    password_version: Mapped[int]
    # How often the refresh token has been exchanged: the one of an earlier generation is a copy.
    generation: Mapped[int]
    # Since when a request is exchanging it, and how many others have asked meanwhile.
    claimed_at: Mapped[datetime | None]
    contenders: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ip_address: Mapped[str | None] = mapped_column(sa.String(45))
    user_agent: Mapped[str | None]


class KnownAddress(Base):
    """An address that a user has signed in from: a login from another one is worth a mail."""

    __tablename__ = "known_addresses"

    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    # A single IPv4 address, or a /64 of IPv6, within which a device chooses another address every day.
    network: Mapped[str] = mapped_column(sa.String(45), primary_key=True)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class Nobody(Base):
    """What failed logins with names that nobody has are counted on: a row written is a row waited for."""

    __tablename__ = "nobodies"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    failed_login_attempts: Mapped[int] = mapped_column(sa.BigInteger)
