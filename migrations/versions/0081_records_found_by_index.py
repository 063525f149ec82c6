"""The record of a change is looked for by the index, however small the log was when that was planned."""

from alembic import op

revision = "0081"
down_revision = "0074"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A connection keeps its plan: made while the log had a page, it would read the whole log for each row of an import.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER FUNCTION require_record() SET enable_seqscan = off")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER FUNCTION require_record() RESET enable_seqscan")
