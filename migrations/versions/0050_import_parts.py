"""Plans of imports are stored a thousand rows at a time."""

from collections import Counter
from itertools import groupby
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0040"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000
ACTIONS = ("create", "update", "unchanged", "error")
ROW = (
    *("import_id", "position", "sheet", "row", "resource", "action", "object_id", "version", "name"),
    *("new", "old", "errors", "warnings"),
)
PART = ("import_id", "first", "sheet", "resource", "rows", *ACTIONS)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "import_parts",
        sa.Column(
            "import_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sheet", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        *(sa.Column(action, sa.Integer(), nullable=False) for action in ACTIONS),
        sa.Column("created_ids", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_parts_import_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "first", name=op.f("pk_import_parts")),
    )
    _keep_plans()
    op.drop_index("ix_import_rows_import_id_action_position", table_name="import_rows")
    op.drop_table("import_rows")


def _keep_plans() -> None:
    """Bring the plans that there are into the new table, one import after the other."""
    connection = op.get_bind()
    rows = sa.table("import_rows", *map(sa.column, ROW))
    parts = sa.table("import_parts", *map(sa.column, PART))
    for import_id in connection.scalars(sa.select(rows.c.import_id).distinct()).all():
        statement = sa.select(rows).where(rows.c.import_id == import_id).order_by(rows.c.position)
        planned = connection.execute(statement).all()
        for _, alike in groupby(planned, key=lambda row: (row.sheet, row.resource)):
            listed = list(alike)
            for start in range(0, len(listed), ROWS_AT_ONCE):
                connection.execute(sa.insert(parts), _part(listed[start : start + ROWS_AT_ONCE]))


def _part(rows: list[Any]) -> dict[str, Any]:
    counts = Counter(row.action for row in rows)
    packed = [
        (
            row.row,
            row.action,
            row.object_id,
            row.version,
            row.name,
            orjson.loads(row.new),
            orjson.loads(row.old or "null"),
            orjson.loads(row.errors or "[]"),
            orjson.loads(row.warnings or "[]"),
        )
        for row in rows
    ]
    return {
        "import_id": rows[0].import_id,
        "first": rows[0].position,
        "sheet": rows[0].sheet,
        "resource": rows[0].resource,
        "rows": orjson.dumps(packed).decode(),
        **{action: counts[action] for action in ACTIONS},
    }


def downgrade() -> None:
    op.create_table(
        "import_rows",
        sa.Column(
            "import_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sheet", sa.String(length=255), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column(
            "action",
            sa.Enum(*ACTIONS, name="action", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("object_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("new", sa.Text(), nullable=False),
        sa.Column("old", sa.Text(), nullable=True),
        sa.Column("errors", sa.Text(), nullable=True),
        sa.Column("warnings", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_rows_import_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "position", name=op.f("pk_import_rows")),
    )
    op.create_index(
        "ix_import_rows_import_id_action_position", "import_rows", ["import_id", "action", "position"], unique=False
    )
    op.drop_table("import_parts")
