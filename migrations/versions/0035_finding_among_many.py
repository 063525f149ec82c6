"""Finding among many: texts by their trigrams, GPUs by status and model, assignments by their end."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0032"
branch_labels = None
depends_on = None

LOWER = {
    "servers": ("hostname", "internal_ip", "serial_number"),
    "services": ("name",),
    "gpus": ("model", "uuid", "serial_number"),
    "assets": ("name", "serial_number"),
}
SEARCHED = {
    "servers": ("name", "hostname", "internal_ip", "serial_number", "asset_tag", "model", "owner"),
    "containers": ("name", "image"),
    "services": ("name", "health_check"),
    "gpus": ("model", "uuid", "serial_number"),
    "assets": ("name", "serial_number", "asset_tag", "model", "assigned_to"),
}


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if on_postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
        # What builds an index over a million rows takes longer than a request may.
        op.execute("SET LOCAL statement_timeout = 0")
    op.drop_index("ix_gpus_model", "gpus")
    op.drop_index("ix_gpus_status", "gpus")
    op.create_index("ix_gpus_status_model_server_id", "gpus", ["status", "model", "server_id"])
    op.create_index("ix_servers_name_id", "servers", ["name", "id"])
    op.create_index("ix_gpu_assignments_released_at", "gpu_assignments", ["released_at"])
    for table, columns in LOWER.items():
        for column in columns:
            op.create_index(f"ix_{table}_lower_{column}", table, [sa.text(f"lower({column})")])
    if on_postgresql:
        # A trusted extension, which the owner of a database may create.
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        for table, columns in SEARCHED.items():
            texts = [*(f"coalesce({column}, '')" for column in columns), "CAST(attributes AS TEXT)"]
            joined = " || chr(10) || ".join(texts)
            op.execute(f"CREATE INDEX ix_{table}_search_text ON {table} USING gin (lower({joined}) gin_trgm_ops)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP INDEX {', '.join(f'ix_{table}_search_text' for table in SEARCHED)}")
    for table, columns in LOWER.items():
        for column in columns:
            op.drop_index(f"ix_{table}_lower_{column}", table)
    op.drop_index("ix_gpu_assignments_released_at", "gpu_assignments")
    op.drop_index("ix_servers_name_id", "servers")
    op.drop_index("ix_gpus_status_model_server_id", "gpus")
    op.create_index("ix_gpus_status", "gpus", ["status"])
    op.create_index("ix_gpus_model", "gpus", ["model"])
