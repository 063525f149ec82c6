"""What users hold who have been deactivated: reactivating them is to revive none of it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0050"
branch_labels = None
depends_on = None

ENDS = {"auth_sessions": "ended_at", "personal_tokens": "revoked_at", "password_resets": "used_at"}


def upgrade() -> None:
    users = sa.table("users", sa.column("id"), sa.column("is_active"))
    inactive = sa.select(users.c.id).where(sa.not_(users.c.is_active))
    for name, ended in ENDS.items():
        table = sa.table(name, sa.column("user_id"), sa.column(ended))
        op.execute(
            sa.update(table)
            .where(table.c[ended].is_(None), table.c.user_id.in_(inactive))
            .values({ended: sa.func.current_timestamp()})
        )


def downgrade() -> None:
    """Nothing: who is out stays out."""
