"""Terms of what changed within lists and attributes."""

from alembic import op

revision = "0082"
down_revision = "0075"
branch_labels = None
depends_on = None


def _text_of(value: str) -> str:
    # Nothing but built-in functions: a dump is restored, and PostgreSQL itself analyses, without our search path.
    return (
        f"CASE WHEN jsonb_typeof({value}) IN ('array', 'object') THEN NULL "
        f"WHEN length({value} #>> '{{}}') > 64 THEN md5(lower({value} #>> '{{}}')) "
        f"ELSE coalesce(lower({value} #>> '{{}}'), '') END"
    )


def _or_empty(value: str, kind: str) -> str:
    empty = {"array": "[]", "object": "{}"}[kind]
    return f"CASE WHEN jsonb_typeof({value}) = '{kind}' THEN {value} ELSE '{empty}' END"


_BEGIN = """
CREATE OR REPLACE FUNCTION audit_terms(changes text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL UNSAFE COST 1000 AS $$
"""
_END = """
EXCEPTION WHEN others THEN
    RETURN '{}';
END $$
"""
# The terms of a record: the name of each field that changed, `name<old`, `name>new` and `name<old>new`; an absent
# value is empty, and a long one its MD5. Whatever `changes` may hold, a record can be written.
_SCALARS = f"""
    SELECT coalesce(array_agg(term), '{{}}')
    FROM jsonb_each(changes::jsonb) AS change (field, facts)
    CROSS JOIN LATERAL (
        SELECT '<' || {_text_of("(facts -> 'old')")} AS old, '>' || {_text_of("(facts -> 'new')")} AS new
    ) AS side
    CROSS JOIN LATERAL (VALUES (field), (field || old), (field || new), (field || old || new)) AS made (term)
    WHERE term IS NOT NULL
"""  # noqa: S608 - nothing in it comes from outside
# Of a list `name<member` is what it has lost and `name>member` what it has got. An attribute is a field of its own,
# `attributes.key`, and its values are those of `attributes` too, so that they are found where no field is asked for.
_MEMBERS = f"""
    SELECT coalesce(array_agg(term), '{{}}')
    FROM jsonb_each(changes::jsonb) AS change (field, facts)
    CROSS JOIN LATERAL (
        SELECT {_or_empty("(facts -> 'old')", "array")} AS old, {_or_empty("(facts -> 'new')", "array")} AS new,
            {_or_empty("(facts -> 'old')", "object")} AS was, {_or_empty("(facts -> 'new')", "object")} AS became
    ) AS side
    CROSS JOIN LATERAL (
        SELECT field || '<' || {_text_of("member")} FROM jsonb_array_elements(old) AS lost (member)
        WHERE NOT new @> jsonb_build_array(member)
        UNION ALL
        SELECT field || '>' || {_text_of("member")} FROM jsonb_array_elements(new) AS got (member)
        WHERE NOT old @> jsonb_build_array(member)
        UNION ALL
        SELECT one FROM (SELECT jsonb_object_keys(was || became)) AS named (key)
        CROSS JOIN LATERAL (
            SELECT '<' || {_text_of("(was -> key)")} AS before, '>' || {_text_of("(became -> key)")} AS after
        ) AS value
        CROSS JOIN LATERAL (VALUES
            (field || '.' || key), (field || '.' || key || before), (field || '.' || key || after),
            (field || '.' || key || before || after), (field || before), (field || after), (field || before || after)
        ) AS of_key (one)
        WHERE was -> key IS DISTINCT FROM became -> key
    ) AS made (term)
    WHERE term IS NOT NULL
"""  # noqa: S608 - nothing in it comes from outside


def upgrade() -> None:
    # Most changes have none, and looking for them there takes as long as all the rest.
    _replace(f"""
DECLARE terms text[];
BEGIN
    terms := ({_SCALARS});
    IF changes ~ '"(old|new)":[[{{]' THEN
        terms := terms || ({_MEMBERS});
    END IF;
    RETURN terms;
""")


def downgrade() -> None:
    _replace(f"BEGIN RETURN ({_SCALARS});")


def _replace(body: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        # To make an index of a long log takes longer than a statement may.
        op.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0")
        op.execute(_BEGIN + body + _END)
        op.execute("REINDEX INDEX ix_audit_logs_terms")
