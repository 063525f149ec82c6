"""Who is exchanging a session's refresh token."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0061"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("auth_sessions", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("auth_sessions", sa.Column("contenders", sa.Integer(), server_default="0", nullable=False))
    op.drop_column("auth_sessions", "exchanged_at")


def downgrade() -> None:
    op.add_column("auth_sessions", sa.Column("exchanged_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_column("auth_sessions", "contenders")
    op.drop_column("auth_sessions", "claimed_at")
