"""SQLite too refuses to commit a change that has no audit record; PostgreSQL refuses to truncate."""

from alembic import op

from migrations import guards

revision = "0080"
down_revision = "0073"
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
    if op.get_bind().dialect.name == "postgresql":
        # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
        op.execute("SET LOCAL lock_timeout = '5s'")
        guards.create_truncation_function()
        for table in AUDITED:
            guards.guard_truncation(table)
        return
    guards.expect_records()
    for table in AUDITED:
        guards.guard_records(table)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_truncation() CASCADE")
        return
    for table in AUDITED:
        for name in ("new", "changed", "gone"):
            op.execute(f"DROP TRIGGER {table}_{name}_recorded")
    op.execute(f"DROP TRIGGER {guards.EXPECTED}_written")
    op.execute(f"DROP TABLE {guards.EXPECTED}")
