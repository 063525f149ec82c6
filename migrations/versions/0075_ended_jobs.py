"""Jobs say when they ended, so that they need not be kept for ever."""

import sqlalchemy as sa
from alembic import op

revision = "0075"
down_revision = "0081"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("jobs", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    # Nobody knows any more when those ended: they are kept as if it had been at once.
    op.execute("UPDATE jobs SET ended_at = created_at WHERE state IN ('done', 'failed')")


def downgrade() -> None:
    op.drop_column("jobs", "ended_at")
