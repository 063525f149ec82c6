"""The Merkle tree of the audit log and its signed checkpoints."""

import sqlalchemy as sa
from alembic import op

from migrations import guards

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit_leaves",
        sa.Column("position", ID, autoincrement=False, nullable=False),
        sa.Column("record_id", ID, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_leaves")),
        sa.UniqueConstraint("record_id", name=op.f("uq_audit_leaves_record_id")),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("size", ID, autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoints")),
    )
    guards.guard_append_only("audit_leaves")
    guards.guard_append_only("audit_checkpoints")


def downgrade() -> None:
    op.drop_table("audit_checkpoints")
    op.drop_table("audit_leaves")
