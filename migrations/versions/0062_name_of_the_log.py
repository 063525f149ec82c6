"""The audit log has a name of its own."""

import uuid

import sqlalchemy as sa
from alembic import op

from migrations import guards

revision = "0062"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    made = op.create_table(
        "audit_origin",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_origin")),
    )
    # What has been sealed already said a name.
    sealed = op.get_bind().execute(sa.text("SELECT note FROM audit_checkpoints ORDER BY size LIMIT 1")).scalar()
    name = sealed.partition("\n")[0] if sealed else f"itam-audit-log/{uuid.uuid4().hex}"
    op.bulk_insert(made, [{"name": name}])
    guards.guard_append_only("audit_origin")


def downgrade() -> None:
    op.drop_table("audit_origin")
