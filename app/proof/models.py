"""The tables of the proof: the name of the log, the leaves of its tree, and the signed checkpoints."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.proof.merkle import HASH_BYTES


class AuditOrigin(Base):
    """The name of this log, which its checkpoints carry; the first migration creates it."""

    __tablename__ = "audit_origin"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)


class AuditLeaf(Base):
    __tablename__ = "audit_leaves"

    # Dense from 0: the number of leaves is the size of the tree.
    position: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    record_id: Mapped[int] = mapped_column(Id, unique=True)
    hash: Mapped[bytes] = mapped_column(sa.LargeBinary(HASH_BYTES))


class AuditCheckpoint(Base):
    size: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    # The signed text with size and root.
    note: Mapped[str] = mapped_column(sa.Text)
    # The tree to append the next leaves to: sealing does not read earlier leaves.
    frontier: Mapped[bytes] = mapped_column(sa.LargeBinary)
    sealed_at: Mapped[datetime]


origin = AuditOrigin.__table__
leaves = AuditLeaf.__table__
checkpoints = AuditCheckpoint.__table__
