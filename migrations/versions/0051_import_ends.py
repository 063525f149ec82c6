"""Imports can be cancelled and reverted."""

from alembic import op

from migrations.choices import allow_choices

revision = "0051"
down_revision = "0035"
branch_labels = None
depends_on = None

BEFORE = ("queued", "validating", "ready", "invalid", "applying", "applied", "failed")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    allow_choices("imports", "status", "ck_imports_importstatus", (*BEFORE, "cancelled", "reverted"))


def downgrade() -> None:
    # What was cancelled did not happen; what was reverted had happened, and no state says the rest.
    op.execute("UPDATE imports SET status = 'failed' WHERE status IN ('cancelled', 'reverted')")
    allow_choices("imports", "status", "ck_imports_importstatus", BEFORE)
