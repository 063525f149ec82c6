"""Rows that stand for the names that nobody has."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nobodies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("failed_login_attempts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nobodies")),
    )


def downgrade() -> None:
    op.drop_table("nobodies")
