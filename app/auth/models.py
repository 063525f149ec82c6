"""Sessions, known addresses, and counters of failed logins with unknown names."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.audit.declaration import WithMac
from app.core.db.models import Base, Id
from app.core.request_context import USER_AGENT_LENGTH
from app.users.models import User


class AuthSession(WithMac, Base):
    """A session, which a login creates. Its tokens are valid only while it has not ended, whatever their own expiry."""

    guarded_columns = ("id", "user_id", "password_version", "created_at", "ended_at", "user_agent")

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), index=True)
    password_version: Mapped[int]
    # How often the refresh token was rotated. A token of an earlier generation is reuse.
    generation: Mapped[int]
    # Since when a request is rotating it, and how many others have tried meanwhile; see refresh_rotation.
    claimed_at: Mapped[datetime | None]
    contenders: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ip_address: Mapped[str | None] = mapped_column(sa.String(45))
    user_agent: Mapped[str | None] = mapped_column(sa.String(USER_AGENT_LENGTH))


class KnownAddress(WithMac, Base):
    """A network that a user has signed in from; a login from another one is mailed to the user."""

    guarded_columns = ("user_id", "network", "first_seen_at")

    user_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    # A single IPv4 address, or an IPv6 /64: devices change their address within it every day.
    network: Mapped[str] = mapped_column(sa.String(45), primary_key=True)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class DummyLoginCounter(Base):
    """Counts logins with unknown names, so that they write a row as those with known names do; see lockout."""

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    failed_login_attempts: Mapped[int] = mapped_column(sa.BigInteger)
    checks_in_progress: Mapped[int] = mapped_column(default=0)
    last_check_at: Mapped[datetime | None]
