"""The download links that have been used, kept until they would have expired."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base


class UsedDownload(Base):
    """The number of a link that was used; its primary key admits one download."""

    nonce: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
