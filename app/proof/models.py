"""The log's name, its tree's leaves in the order of sealing, and the checkpoints that were signed over them."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.column_types import Id
from app.core.db.models import Base
from app.proof.merkle import HASH


class AuditOrigin(Base):
    """The name of this log, which its checkpoints carry: made by a migration, once."""

    __tablename__ = "audit_origin"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)


class AuditLeaf(Base):
    __tablename__ = "audit_leaves"

    # Dense from 0: the number of leaves is the size of the tree.
    position: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    record_id: Mapped[int] = mapped_column(Id, unique=True)
    hash: Mapped[bytes] = mapped_column(sa.LargeBinary(HASH))


class AuditCheckpoint(Base):
    __tablename__ = "audit_checkpoints"

    size: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    # The signed text, which says size and root.
    note: Mapped[str] = mapped_column(sa.Text)
    # What the next leaves are appended to, so that sealing costs as much as there is to seal.
    frontier: Mapped[bytes] = mapped_column(sa.LargeBinary)
    sealed_at: Mapped[datetime]


origin = AuditOrigin.__table__
leaves = AuditLeaf.__table__
checkpoints = AuditCheckpoint.__table__
