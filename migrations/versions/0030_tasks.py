"""Tasks."""

import sqlalchemy as sa
from alembic import op

from migrations import guards

revision = "0030"
down_revision = "0071"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_completed", sa.Boolean(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("container_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("service_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("gpu_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("asset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "CASE WHEN server_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN container_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN service_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN gpu_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN asset_id IS NULL THEN 0 ELSE 1 END <= 1",
            name=op.f("ck_tasks_one_subject"),
        ),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_tasks_asset_id")),
        sa.ForeignKeyConstraint(["container_id"], ["containers.id"], name=op.f("fk_tasks_container_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_tasks_created_by_id")),
        sa.ForeignKeyConstraint(["gpu_id"], ["gpus.id"], name=op.f("fk_tasks_gpu_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_tasks_server_id")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_tasks_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_tasks_asset_id"), "tasks", ["asset_id"])
    op.create_index(op.f("ix_tasks_container_id"), "tasks", ["container_id"])
    op.create_index(op.f("ix_tasks_created_by_id"), "tasks", ["created_by_id"])
    op.create_index(op.f("ix_tasks_due_date"), "tasks", ["due_date"])
    op.create_index(op.f("ix_tasks_gpu_id"), "tasks", ["gpu_id"])
    op.create_index(op.f("ix_tasks_server_id"), "tasks", ["server_id"])
    op.create_index(op.f("ix_tasks_service_id"), "tasks", ["service_id"])
    guards.guard_versions("tasks")


def downgrade() -> None:
    op.drop_table("tasks")
