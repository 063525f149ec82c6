"""Pictures of assets, and what became of describing them."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0031"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "asset_images",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("asset_id", ID, nullable=False),
        sa.Column("content_type", sa.String(length=32), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delete_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_images")),
        sa.UniqueConstraint("name", name=op.f("uq_asset_images_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_asset_images_asset_id"), "asset_images", ["asset_id"])
    op.create_index(op.f("ix_asset_images_delete_at"), "asset_images", ["delete_at"])
    # Alembic leaves the constraint out on SQLite, which takes it here.
    op.execute(
        "ALTER TABLE assets ADD COLUMN description_status VARCHAR(32) CONSTRAINT ck_assets_descriptionstatus "
        "CHECK (description_status IN ('pending', 'described', 'kept', 'failed'))"
    )
    op.add_column("assets", sa.Column("description_problem", sa.String(length=500), nullable=True))


def downgrade() -> None:
    op.drop_column("assets", "description_problem")
    op.drop_column("assets", "description_status")
    op.drop_table("asset_images")
