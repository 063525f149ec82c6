"""The terms of a record are made in one process: what catches errors may not run in parallel workers."""

from alembic import op

revision = "0071"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
        op.execute("ALTER FUNCTION audit_terms(text) PARALLEL UNSAFE")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER FUNCTION audit_terms(text) PARALLEL SAFE")
