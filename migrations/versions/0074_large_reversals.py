"""A large import is undone by a job."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.choices import allow_choices

revision = "0074"
down_revision = "0080"
branch_labels = None
depends_on = None

BEFORE = (
    "queued", "validating", "ready", "invalid", "applying", "applied", "failed", "cancelled", "reverted",
)  # fmt: skip


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    allow_choices("imports", "status", "ck_imports_importstatus", (*BEFORE, "reverting"))
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("imports", sa.Column("reversal", json, nullable=True))


def downgrade() -> None:
    # Its transaction has not been committed: all that it imported is there.
    op.execute("UPDATE imports SET status = 'applied' WHERE status = 'reverting'")
    allow_choices("imports", "status", "ck_imports_importstatus", BEFORE)
    op.drop_column("imports", "reversal")
