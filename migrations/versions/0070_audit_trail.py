"""Indexes by which the audit log is asked: each filter in the order of the log, texts, and what changed."""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0014"
branch_labels = None
depends_on = None

# The terms of a record: the name of each field that changed, `name<old` and `name>new`; an absent value is empty, and
# a long one its MD5. Whatever `changes` may hold, a record can be written.
_TERMS = """
CREATE FUNCTION audit_terms(changes text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
BEGIN
    RETURN (
        SELECT coalesce(array_agg(term), '{}')
        FROM jsonb_each(changes::jsonb) AS change (field, facts)
        CROSS JOIN LATERAL (VALUES ('', NULL), ('<', facts -> 'old'), ('>', facts -> 'new')) AS side (sign, value)
        CROSS JOIN LATERAL (SELECT field || sign || CASE
            WHEN jsonb_typeof(value) IN ('array', 'object') THEN NULL
            WHEN length(value #>> '{}') > 64 THEN md5(lower(value #>> '{}'))
            ELSE coalesce(lower(value #>> '{}'), '')
        END) AS made (term)
        WHERE term IS NOT NULL
    );
EXCEPTION WHEN others THEN
    RETURN '{}';
END $$
"""
_TEXTS = (
    "lower(coalesce(username, '') || '|' || coalesce(resource_name, '') || '|' || "
    "coalesce(ip_address, '') || '|' || coalesce(reason, ''))"
)


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        # To make an index of a long log takes longer than a statement may.
        op.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0")
    for name in ("action", "created_at", "request_id", "user_id"):
        op.drop_index(f"ix_audit_logs_{name}", "audit_logs")
    for name in ("created_at", "user_id", "action", "resource_type", "resource_id", "ip_address"):
        op.create_index(f"ix_audit_logs_{name}_id", "audit_logs", [name, "id"])
    for name in ("username", "request_id"):
        op.create_index(f"ix_audit_logs_{name}_id", "audit_logs", [sa.text(f"lower({name})"), "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_TERMS)
        op.execute("CREATE INDEX ix_audit_logs_terms ON audit_logs USING gin (audit_terms(changes))")
        # A trusted extension, which the owner of a database may create.
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        op.execute(f"CREATE INDEX ix_audit_logs_texts ON audit_logs USING gin (({_TEXTS}) gin_trgm_ops)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX ix_audit_logs_texts, ix_audit_logs_terms")
        op.execute("DROP FUNCTION audit_terms(text)")
    for name in (
        "created_at", "user_id", "action", "resource_type", "resource_id", "ip_address", "username", "request_id",
    ):  # fmt: skip
        op.drop_index(f"ix_audit_logs_{name}_id", "audit_logs")
    for name in ("action", "created_at", "request_id", "user_id"):
        op.create_index(f"ix_audit_logs_{name}", "audit_logs", [name])
