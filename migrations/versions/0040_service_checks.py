"""Health checks of services: what they found, and when the next one is due."""

import sqlalchemy as sa
from alembic import op

from migrations import guards

revision = "0040"
down_revision = "0070"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "service_checks",
        sa.Column("id", ID, nullable=False),
        sa.Column("service_id", ID, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "healthy",
                "unhealthy",
                "unknown",
                "disabled",
                name="servicestatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("is_change", sa.Boolean(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("response_ms", sa.Integer(), nullable=True),
        sa.Column("problem", sa.String(length=500), nullable=True),
        sa.Column("checked_by", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_id"], ["services.id"], name=op.f("fk_service_checks_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_checks")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_service_checks_service_id"), "service_checks", ["service_id"])
    op.create_index("ix_service_checks_is_change_checked_at", "service_checks", ["is_change", "checked_at"])
    op.create_table(
        "service_schedules",
        sa.Column("service_id", ID, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"], ["services.id"], name=op.f("fk_service_schedules_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_service_schedules")),
    )
    op.create_index(op.f("ix_service_schedules_due_at"), "service_schedules", ["due_at"])
    guards.guard_versions("services", unversioned=("last_checked_at",))


def downgrade() -> None:
    guards.guard_versions("services")
    op.drop_table("service_schedules")
    op.drop_table("service_checks")
