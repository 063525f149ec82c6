"""PostgreSQL refuses to commit a change that has no audit record."""

from alembic import op

from migrations import guards

revision = "0063"
down_revision = "0051"
branch_labels = None
depends_on = None

AUDITED = (
    "users",
    "datacenters",
    "environments",
    "servers",
    "containers",
    "services",
    "gpus",
    "assets",
    "tasks",
)


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
        guards.create_record_function()
        for table in AUDITED:
            guards.guard_records(table)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION require_record() CASCADE")
