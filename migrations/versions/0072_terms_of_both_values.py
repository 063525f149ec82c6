"""A term for old and new value together, so that the planner knows how many records have both."""

from alembic import op

revision = "0072"
down_revision = "0041"
branch_labels = None
depends_on = None


def _text_of(value: str) -> str:
    # Nothing but built-in functions: a dump is restored, and PostgreSQL itself analyses, without our search path.
    return (
        f"CASE WHEN jsonb_typeof({value}) IN ('array', 'object') THEN NULL "
        f"WHEN length({value} #>> '{{}}') > 64 THEN md5(lower({value} #>> '{{}}')) "
        f"ELSE coalesce(lower({value} #>> '{{}}'), '') END"
    )


# The terms of a record: the name of each field that changed, `name<old`, `name>new` and `name<old>new`; an absent
# value is empty, and a long one its MD5. Whatever `changes` may hold, a record can be written.
def _terms(*terms: str) -> str:
    return f"""
CREATE OR REPLACE FUNCTION audit_terms(changes text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL UNSAFE COST 1000 AS $$
BEGIN
    RETURN (
        SELECT coalesce(array_agg(term), '{{}}')
        FROM jsonb_each(changes::jsonb) AS change (field, facts)
        CROSS JOIN LATERAL (
            SELECT '<' || {_text_of("(facts -> 'old')")} AS old, '>' || {_text_of("(facts -> 'new')")} AS new
        ) AS side
        CROSS JOIN LATERAL (VALUES {", ".join(f"({term})" for term in terms)}) AS made (term)
        WHERE term IS NOT NULL
    );
EXCEPTION WHEN others THEN
    RETURN '{{}}';
END $$
"""  # noqa: S608 - nothing in it comes from outside


def upgrade() -> None:
    _replace("field", "field || old", "field || new", "field || old || new")


def downgrade() -> None:
    _replace("field", "field || old", "field || new")


def _replace(*terms: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        # To make an index of a long log takes longer than a statement may.
        op.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0")
        op.execute(_terms(*terms))
        op.execute("REINDEX INDEX ix_audit_logs_terms")
