"""Audit records are linked by MACs."""

import sqlalchemy as sa
from alembic import op

from migrations import guards

revision = "0060"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("audit_logs", sa.Column("mac", sa.String(length=73), nullable=True))
    guards.guard_links("audit_logs")


def downgrade() -> None:
    guards.drop_links_guard("audit_logs")
    op.drop_column("audit_logs", "mac")
