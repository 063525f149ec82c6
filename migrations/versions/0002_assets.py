"""Assets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations import guards

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "assets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column(
            "asset_type",
            sa.Enum(
                "laptop",
                "desktop",
                "monitor",
                "phone",
                "tablet",
                "printer",
                "network",
                "storage",
                "rack",
                "peripheral",
                "other",
                name="assettype",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.Column("asset_tag", sa.String(length=255), nullable=True),
        sa.Column("manufacturer", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "in_stock",
                "in_use",
                "in_repair",
                "retired",
                "lost",
                name="assetstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("datacenter_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("assigned_to", sa.String(length=255), nullable=True),
        sa.Column("purchase_date", sa.Date(), nullable=True),
        sa.Column("purchase_price", sa.Numeric(precision=15, scale=2), nullable=True),
        sa.Column("warranty_expires", sa.Date(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("image_url", sa.String(length=255), nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_assets_created_by_id")),
        sa.ForeignKeyConstraint(["datacenter_id"], ["datacenters.id"], name=op.f("fk_assets_datacenter_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_assets_asset_type"), "assets", ["asset_type"], unique=False)
    op.create_index(op.f("ix_assets_created_by_id"), "assets", ["created_by_id"], unique=False)
    op.create_index(op.f("ix_assets_datacenter_id"), "assets", ["datacenter_id"], unique=False)
    op.create_index(op.f("ix_assets_status"), "assets", ["status"], unique=False)
    op.create_index("uq_assets_asset_tag", "assets", ["asset_tag"], unique=True)
    op.create_index(
        "uq_assets_datacenter_id_name",
        "assets",
        [sa.literal_column("coalesce(datacenter_id, 0)"), sa.literal_column("lower(name)")],
        unique=True,
    )
    op.create_index("uq_assets_serial_number", "assets", ["serial_number"], unique=True)
    guards.guard_versions("assets")


def downgrade() -> None:
    op.drop_index("uq_assets_serial_number", table_name="assets")
    op.drop_index("uq_assets_datacenter_id_name", table_name="assets")
    op.drop_index("uq_assets_asset_tag", table_name="assets")
    op.drop_index(op.f("ix_assets_status"), table_name="assets")
    op.drop_index(op.f("ix_assets_datacenter_id"), table_name="assets")
    op.drop_index(op.f("ix_assets_created_by_id"), table_name="assets")
    op.drop_index(op.f("ix_assets_asset_type"), table_name="assets")
    op.drop_table("assets")
