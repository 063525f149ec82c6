"""The first schema."""

import uuid
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations import guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)

TABLES = (
    "audit_logs",
    "audit_event_chains",
    "audit_leaves",
    "audit_checkpoints",
    "audit_origin",
    "audit_refusals",
    "users",
    "dummy_login_counters",
    "auth_sessions",
    "personal_tokens",
    "password_resets",
    "known_addresses",
    "datacenters",
    "environments",
    "servers",
    "containers",
    "container_ports",
    "gpus",
    "gpu_assignments",
    "services",
    "service_checks",
    "service_schedules",
    "assets",
    "asset_images",
    "tasks",
    "jobs",
    "outbox",
    "idempotency_keys",
    "used_downloads",
    "imports",
    "import_files",
    "import_parts",
    "import_reports",
    "import_mappings",
    "saved_views",
    "object_counts",
)
"""Every table, each after those it refers to."""

SEARCHED = {
    "users": ("username", "email", "full_name", "phone", "last_login_ip"),
    "datacenters": ("name", "code", "location", "description"),
    "environments": ("name", "description", "color"),
    "servers": (
        *("name", "hostname", "internal_ip", "serial_number", "asset_tag", "model", "owner", "rack", "external_ip"),
        *("management_ip", "mac_address:mac", "manufacturer", "os", "cpu_model", "tags:list", "description"),
        "attributes:attributes",
    ),
    "containers": ("name", "image", "port_mappings:objects", "description", "attributes:attributes"),
    "services": ("name", "port:number", "service_type", "health_check", "description", "attributes:attributes"),
    "gpus": ("model", "uuid", "serial_number", "purpose", "description", "attributes:attributes"),
    "assets": (
        *("name", "serial_number", "asset_tag", "model", "assigned_to", "asset_type", "manufacturer", "description"),
        "attributes:attributes",
    ),
    "tasks": ("title", "description"),
}
"""The tables whose objects can be found, and their columns in the order of their weight."""


SORTED = {
    "servers": (
        *("name:natural", "hostname:natural", "server_type", "status", "datacenter_id", "environment_id"),
        *("rack:natural", "rack_unit", "internal_ip:address", "manufacturer:natural", "model:natural"),
        *("serial_number:natural", "asset_tag:natural", "os:natural", "cpu_cores", "memory_gb"),
        *("warranty_expires", "owner:natural", "created_at", "updated_at"),
    ),
    "containers": ("name:natural", "server_id", "image:natural", "status", "created_at", "updated_at"),
    "gpus": (
        *("model:natural", "server_id", "status", "assigned_to_id", "assigned_at"),
        *("created_at", "updated_at"),
    ),
    "services": (
        *("name:natural", "service_type", "status", "server_id", "container_id", "port", "created_at"),
        *("updated_at",),
    ),
    "assets": (
        *("name:natural", "asset_type", "status", "serial_number:natural", "asset_tag:natural"),
        *("manufacturer:natural", "model:natural", "datacenter_id", "assigned_to:natural", "purchase_date"),
        *("purchase_price", "warranty_expires", "created_at", "updated_at"),
    ),
}
"""The columns by which large lists are ordered, each with what makes its order: `natural_key` or `address_key`."""

LONG = frozenset({"image"})
"""Columns that may be too long to stand beside their key in an index."""

COUNTED = {
    "servers": (
        ("status", "server_type", "datacenter_id", "environment_id"),
        ("status", "warranty_expires"),
        ("created_at:day",),
    ),
    "containers": (("status",), ("created_at:day",)),
    "gpus": (("status", "model"), ("assigned_to_id",), ("created_at:day",)),
    "services": (("status", "service_type", "protocol"), ("created_at:day",)),
    "assets": (("status", "asset_type", "datacenter_id"), ("status", "warranty_expires"), ("created_at:day",)),
}
"""The tables whose objects are counted, each with groups of columns by whose values they are."""

CACHED = (
    *("users", "datacenters", "environments", "servers", "containers", "gpus", "gpu_assignments", "services", "assets"),
    "tasks",
)
"""The tables from which answers are cached."""


def upgrade() -> None:
    guards.create_text_functions()
    _create_audit_log()
    _create_users()
    _create_infrastructure()
    _create_assets_and_tasks()
    _create_background_work()
    _create_imports()
    for table, columns in SORTED.items():
        for column, _, order in (text.partition(":") for text in columns):
            expression = sa.text(f"{order}_key({column})") if order else column
            included = [column] if order and column not in LONG else []
            op.create_index(f"ix_{table}_{column}_sorted", table, [expression, "id"], postgresql_include=included)
    guards.create_search_entries()
    for table, columns in SEARCHED.items():
        guards.keep_search_entries(table, columns, is_private=table == "tasks")
    for table, counters in COUNTED.items():
        guards.keep_counts(table, counters)
    guards.number_commits(*CACHED)


def downgrade() -> None:
    guards.require_consent_to_drop_log()
    guards.forget_commits(*CACHED)
    for table in COUNTED:
        guards.forget_counts(table)
    for table in SEARCHED:
        guards.forget_search_entries(table)
    op.drop_table("search_entries")
    for table in reversed(TABLES):
        op.drop_table(table)
    guards.execute(guards.of_dialect({"postgresql": ["DROP FUNCTION keep_host_ports()"]}))
    guards.drop_functions()


def _one_of(name: str, *values: str) -> sa.Enum:
    """A text column with a CHECK constraint that lists its values."""
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _text_of(value: str) -> str:
    return (
        f"CASE WHEN jsonb_typeof({value}) IN ('array', 'object') THEN NULL "
        f"WHEN length({value} #>> '{{}}') > 64 THEN md5(fold({value} #>> '{{}}')) "
        f"ELSE coalesce(fold({value} #>> '{{}}'), '') END"
    )


def _or_empty(value: str, kind: str) -> str:
    empty = {"array": "[]", "object": "{}"}[kind]
    return f"CASE WHEN jsonb_typeof({value}) = '{kind}' THEN {value} ELSE '{empty}' END"


# The terms of a changed field: `name`, `name<old`, `name>new` and `name<old>new`. An absent value is empty, a value of
# more than 64 characters is its MD5.
_SCALAR_TERMS = f"""
    SELECT coalesce(array_agg(term), '{{}}')
    FROM jsonb_each(changes::jsonb) AS change (field, facts)
    CROSS JOIN LATERAL (
        SELECT '<' || {_text_of("(facts -> 'old')")} AS old, '>' || {_text_of("(facts -> 'new')")} AS new
    ) AS side
    CROSS JOIN LATERAL (VALUES (field), (field || old), (field || new), (field || old || new)) AS made (term)
    WHERE term IS NOT NULL
"""  # noqa: S608 - no value comes from outside
# Of a list, `name<member` for each member removed and `name>member` for each one added. An attribute is a field of its
# own, `attributes.key`; its values are also terms of `attributes`, for a query that names no key.
_MEMBER_TERMS = f"""
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
"""  # noqa: S608 - no value comes from outside
# PARALLEL UNSAFE: an exception handler needs a subtransaction, which parallel workers cannot start. The handler keeps
# every record writable, whatever `changes` holds. Member terms are made only where a list or an object changed: most
# changes have none, and looking for them doubles the time.
AUDIT_TERMS = f"""
CREATE FUNCTION audit_terms(changes text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL UNSAFE COST 1000 AS $$
DECLARE terms text[];
BEGIN
    terms := ({_SCALAR_TERMS});
    IF changes ~ '"(old|new)":[[{{]' THEN
        terms := terms || ({_MEMBER_TERMS});
    END IF;
    RETURN terms;
EXCEPTION WHEN others THEN
    RETURN '{{}}';
END $$
"""

# `container_ports` has one row per published port; its primary key keeps a host port from being used twice.
_HOST_PORTS_ON_POSTGRESQL = (
    """
CREATE FUNCTION keep_host_ports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM container_ports WHERE container_id = OLD.id;
    END IF;
    IF NEW.server_id IS NOT NULL THEN
        INSERT INTO container_ports (server_id, protocol, host_port, container_id)
        SELECT NEW.server_id, mapping ->> 'protocol', (mapping ->> 'host_port')::integer, NEW.id
        FROM jsonb_array_elements(NEW.port_mappings) AS mapping;
    END IF;
    RETURN NULL;
END $$
""",
    """
CREATE TRIGGER containers_host_ports_new AFTER INSERT ON containers FOR EACH ROW
WHEN (NEW.port_mappings <> '[]') EXECUTE FUNCTION keep_host_ports()
""",
    """
CREATE TRIGGER containers_host_ports_changed AFTER UPDATE OF server_id, port_mappings ON containers FOR EACH ROW
WHEN (OLD.server_id IS DISTINCT FROM NEW.server_id OR OLD.port_mappings <> NEW.port_mappings)
EXECUTE FUNCTION keep_host_ports()
""",
)
_TAKE_PORTS = (
    "INSERT INTO container_ports (server_id, protocol, host_port, container_id) "
    "SELECT NEW.server_id, json_extract(value, '$.protocol'), json_extract(value, '$.host_port'), NEW.id "
    "FROM json_each(NEW.port_mappings) WHERE NEW.server_id IS NOT NULL;"
)
_RELEASE_PORTS = "DELETE FROM container_ports WHERE container_id = OLD.id;"
_HOST_PORTS_ON_SQLITE = (
    f"CREATE TRIGGER containers_host_ports_new AFTER INSERT ON containers BEGIN {_TAKE_PORTS} END",
    (
        "CREATE TRIGGER containers_host_ports_changed AFTER UPDATE OF server_id, port_mappings ON containers "
        f"BEGIN {_RELEASE_PORTS} {_TAKE_PORTS} END"
    ),
)


_TAKE_PORTS_ON_MARIADB = (
    "INSERT INTO container_ports (server_id, protocol, host_port, container_id) "
    "SELECT NEW.server_id, mapping.protocol, mapping.host_port, NEW.id FROM JSON_TABLE(NEW.port_mappings, '$[*]' "
    "COLUMNS (protocol VARCHAR(8) PATH '$.protocol', host_port INTEGER PATH '$.host_port')) AS mapping "
    "WHERE NEW.server_id IS NOT NULL;"
)
_IS_RESTORING = "EXISTS (SELECT 1 FROM audit_restoring)"
# MariaDB calls every primary key PRIMARY.
_NAME_PORTS = (
    "DECLARE EXIT HANDLER FOR 1062 RESIGNAL SET MESSAGE_TEXT = 'Duplicate entry for key ''pk_container_ports''';"
)
_HOST_PORTS_ON_MARIADB = (
    (
        "CREATE TRIGGER containers_host_ports_new AFTER INSERT ON containers FOR EACH ROW "
        f"BEGIN {_NAME_PORTS} IF NEW.port_mappings <> '[]' AND NOT {_IS_RESTORING} THEN {_TAKE_PORTS_ON_MARIADB} "
        "END IF; END"
    ),
    (
        "CREATE TRIGGER containers_host_ports_changed AFTER UPDATE ON containers FOR EACH ROW "
        f"BEGIN {_NAME_PORTS} IF NOT (OLD.server_id <=> NEW.server_id AND OLD.port_mappings <=> NEW.port_mappings) THEN "
        f"{_RELEASE_PORTS} {_TAKE_PORTS_ON_MARIADB} END IF; END"
    ),
)


HOST_PORTS = {
    "mariadb": _HOST_PORTS_ON_MARIADB,
    "postgresql": _HOST_PORTS_ON_POSTGRESQL,
    "sqlite": _HOST_PORTS_ON_SQLITE,
}


def _index_of_terms() -> Iterator[str]:
    # With its schema: pg_restore and autovacuum run without our search path.
    schema = op.get_bind().scalar(sa.text("SELECT current_schema()"))
    yield AUDIT_TERMS.replace("fold(", f"{schema}.fold(")
    # Without creations: their terms cost an import more than the rest of its audit records together.
    yield "CREATE INDEX ix_audit_logs_terms ON audit_logs USING gin (audit_terms(changes)) WHERE action <> 'create'"


def _create_audit_log() -> None:
    """The log, the leaves of its Merkle tree, signed checkpoints, and the log's name."""
    op.create_table(
        "audit_logs",
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("username", sa.String(length=255), nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", ID, nullable=True),
        sa.Column("resource_name", sa.String(length=255), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=500), nullable=True),
        sa.Column("token_id", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("event_chain", sa.Integer(), nullable=True),
        sa.Column("event_number", ID, nullable=True),
        sa.Column("state_mac", sa.String(length=73), nullable=True),
        sa.Column("mac", sa.String(length=73), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_logs_action_id", "audit_logs", ["action", "id"])
    op.create_index("ix_audit_logs_created_at_id", "audit_logs", ["created_at", "id"])
    op.create_index(
        "ix_audit_logs_event_chain_event_number",
        "audit_logs",
        ["event_chain", "event_number"],
        postgresql_where=sa.text("event_chain IS NOT NULL"),
        sqlite_where=sa.text("event_chain IS NOT NULL"),
    )
    op.create_index("ix_audit_logs_ip_address_id", "audit_logs", [sa.text("address_key(ip_address)"), "id"])
    op.create_index("ix_audit_logs_request_id_id", "audit_logs", [sa.text("fold(request_id)"), "id"])
    op.create_index("ix_audit_logs_resource_id_id", "audit_logs", ["resource_id", "id"])
    op.create_index("ix_audit_logs_resource_type_id", "audit_logs", ["resource_type", "id"])
    guards.execute(guards.of_dialect({"postgresql": _index_of_terms()}))
    guards.create_text_index(
        "ix_audit_logs_texts",
        "audit_logs",
        "fold(coalesce(username, '') || '|' || coalesce(resource_name, '') || '|' || "
        "coalesce(ip_address, '') || '|' || coalesce(reason, '')) gin_trgm_ops",
    )
    op.create_index("ix_audit_logs_user_id_id", "audit_logs", ["user_id", "id"])
    op.create_index("ix_audit_logs_username_id", "audit_logs", [sa.text("fold(username)"), "id"])
    op.create_index(
        "uq_audit_logs_resource_type_resource_id_version",
        "audit_logs",
        ["resource_type", "resource_id", "version"],
        unique=True,
    )
    op.create_table(
        "audit_event_chains",
        sa.Column("id", ID, nullable=False),
        sa.Column("length", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event_chains")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_leaves",
        sa.Column("position", ID, autoincrement=False, nullable=False),
        sa.Column("record_id", ID, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_leaves")),
        sa.UniqueConstraint("record_id", name=op.f("uq_audit_leaves_record_id")),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("size", ID, autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoints")),
    )
    origin = op.create_table(
        "audit_origin",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_origin")),
    )
    op.create_table(
        "audit_refusals",
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("counted_since", TIME, nullable=False),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("caller", name=op.f("pk_audit_refusals")),
    )
    op.create_index(op.f("ix_audit_refusals_counted_since"), "audit_refusals", ["counted_since"])
    # Every checkpoint is signed with this name, so that those of two installations cannot be exchanged.
    op.bulk_insert(origin, [{"name": f"itam-audit-log/{uuid.uuid4().hex}"}])
    guards.create_functions()
    for table in ("audit_logs", "audit_leaves", "audit_checkpoints", "audit_origin"):
        guards.guard_append_only(table)


def _create_users() -> None:
    """Users, and what they sign in with."""
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("full_name", sa.String(length=255), nullable=True),
        sa.Column("phone", sa.String(length=64), nullable=True),
        sa.Column("language", _one_of("language", "en", "zh"), nullable=True),
        sa.Column(
            "role",
            _one_of("role", "admin", "user"),
            nullable=False,
        ),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("last_login_at", TIME, nullable=True),
        sa.Column("last_login_ip", sa.String(length=45), nullable=True),
        sa.Column("password_hash", sa.String(length=60), nullable=True),
        sa.Column("password_version", sa.Integer(), nullable=False),
        sa.Column("failed_login_attempts", sa.Integer(), nullable=False),
        sa.Column("locked_until", TIME, nullable=True),
        sa.Column("checks_in_progress", sa.Integer(), nullable=False),
        sa.Column("last_check_at", TIME, nullable=True),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_users_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes(
        "users",
        unversioned=(
            "last_login_at",
            "last_login_ip",
            "password_version",
            "failed_login_attempts",
            "locked_until",
            "checks_in_progress",
            "last_check_at",
        ),
    )
    op.create_index(op.f("ix_users_created_by_id"), "users", ["created_by_id"])
    op.create_index("uq_users_email", "users", [sa.text("fold(email)")], unique=True)
    op.create_index("uq_users_username", "users", [sa.text("fold(username)")], unique=True)
    op.create_table(
        "dummy_login_counters",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("failed_login_attempts", sa.BigInteger(), nullable=False),
        sa.Column("checks_in_progress", sa.Integer(), nullable=False),
        sa.Column("last_check_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dummy_login_counters")),
    )
    op.create_table(
        "auth_sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("password_version", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("claimed_at", TIME, nullable=True),
        sa.Column("contenders", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("ip_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=500), nullable=True),
        sa.Column("mac", sa.String(length=73), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_auth_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_auth_sessions")),
    )
    op.create_index(op.f("ix_auth_sessions_user_id"), "auth_sessions", ["user_id"])
    op.create_table(
        "personal_tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=8), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("networks", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("last_used_ip", sa.String(length=45), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_personal_tokens_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_personal_tokens_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_personal_tokens_user_id"), "personal_tokens", ["user_id"])
    op.create_table(
        "password_resets",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("password_version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("mac", sa.String(length=73), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_password_resets_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_password_resets")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_password_resets_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_password_resets_user_id"), "password_resets", ["user_id"])
    op.create_table(
        "known_addresses",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("network", sa.String(length=45), nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.Column("mac", sa.String(length=73), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_known_addresses_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "network", name=op.f("pk_known_addresses")),
    )


def _create_infrastructure() -> None:
    """Sites, servers and what runs on them."""
    op.create_table(
        "datacenters",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("location", sa.String(length=255), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_datacenters_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datacenters")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("datacenters")
    op.create_index(op.f("ix_datacenters_created_by_id"), "datacenters", ["created_by_id"])
    op.create_index("uq_datacenters_code", "datacenters", [sa.text("fold(code)")], unique=True)
    op.create_index("uq_datacenters_name", "datacenters", [sa.text("fold(name)")], unique=True)
    op.create_table(
        "environments",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("color", sa.String(length=7), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_environments_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("environments")
    op.create_index(op.f("ix_environments_created_by_id"), "environments", ["created_by_id"])
    op.create_index("uq_environments_name", "environments", [sa.text("fold(name)")], unique=True)
    op.create_table(
        "servers",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=True),
        sa.Column(
            "server_type",
            _one_of("servertype", "physical", "virtual"),
            nullable=False,
        ),
        sa.Column(
            "status",
            _one_of("serverstatus", "active", "maintenance", "offline", "retired"),
            nullable=False,
        ),
        sa.Column("datacenter_id", ID, nullable=True),
        sa.Column("environment_id", ID, nullable=True),
        sa.Column("rack", sa.String(length=64), nullable=True),
        sa.Column("rack_unit", sa.Integer(), nullable=True),
        sa.Column("internal_ip", sa.String(length=45), nullable=True),
        sa.Column("external_ip", sa.String(length=45), nullable=True),
        sa.Column("management_ip", sa.String(length=45), nullable=True),
        sa.Column("mac_address", sa.String(length=59), nullable=True),
        sa.Column("manufacturer", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.Column("asset_tag", sa.String(length=255), nullable=True),
        sa.Column("os", sa.String(length=255), nullable=True),
        sa.Column("cpu_model", sa.String(length=255), nullable=True),
        sa.Column("cpu_cores", sa.Integer(), nullable=True),
        sa.Column("memory_gb", sa.Numeric(precision=15, scale=3, asdecimal=False), nullable=True),
        sa.Column("disk_gb", sa.Numeric(precision=15, scale=3, asdecimal=False), nullable=True),
        sa.Column("purchase_date", sa.Date(), nullable=True),
        sa.Column("warranty_expires", sa.Date(), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_servers_created_by_id")),
        sa.ForeignKeyConstraint(["datacenter_id"], ["datacenters.id"], name=op.f("fk_servers_datacenter_id")),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name=op.f("fk_servers_environment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servers")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("servers")
    op.create_index(op.f("ix_servers_created_by_id"), "servers", ["created_by_id"])
    op.create_index(
        "ix_servers_counted",
        "servers",
        ["datacenter_id", "status", "server_type", "environment_id", "memory_gb", "cpu_cores"],
    )
    op.create_index("ix_servers_hostname_folded", "servers", [sa.text("fold(hostname)")])
    op.create_index("ix_servers_name_folded", "servers", [sa.text("fold(name)")])
    op.create_index("ix_servers_rack_folded", "servers", [sa.text("fold(rack)")])
    op.create_index("ix_servers_serial_number_folded", "servers", [sa.text("fold(serial_number)")])
    op.create_index("uq_servers_asset_tag", "servers", [sa.text("fold(asset_tag)")], unique=True)
    op.create_index("uq_servers_datacenter_id_internal_ip", "servers", ["datacenter_id", "internal_ip"], unique=True)
    op.create_index(
        "uq_servers_datacenter_id_name",
        "servers",
        [sa.text("coalesce(datacenter_id, 0)"), sa.text("fold(name)")],
        unique=True,
    )
    op.create_table(
        "containers",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("server_id", ID, nullable=True),
        sa.Column("image", sa.String(length=512), nullable=True),
        sa.Column(
            "status",
            _one_of(
                "containerstatus",
                "pending",
                "running",
                "paused",
                "restarting",
                "stopped",
                "succeeded",
                "failed",
                "unknown",
            ),
            nullable=False,
        ),
        sa.Column("cpu_limit", sa.Numeric(precision=15, scale=3, asdecimal=False), nullable=True),
        sa.Column("memory_limit_mb", sa.Integer(), nullable=True),
        sa.Column("port_mappings", JSON, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_containers_created_by_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_containers_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_containers")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("containers")
    op.create_index(op.f("ix_containers_created_by_id"), "containers", ["created_by_id"])
    op.create_index("ix_containers_name_folded", "containers", [sa.text("fold(name)")])
    op.create_index(
        "uq_containers_server_id_name",
        "containers",
        [sa.text("coalesce(server_id, 0)"), sa.text("fold(name)")],
        unique=True,
    )
    op.create_table(
        "container_ports",
        sa.Column("server_id", ID, autoincrement=False, nullable=False),
        sa.Column("protocol", sa.String(length=8), nullable=False),
        sa.Column("host_port", sa.Integer(), nullable=False),
        sa.Column("container_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["container_id"], ["containers.id"], name=op.f("fk_container_ports_container_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("server_id", "protocol", "host_port", name=op.f("pk_container_ports")),
    )
    op.create_index(op.f("ix_container_ports_container_id"), "container_ports", ["container_id"])
    guards.execute(guards.of_dialect(HOST_PORTS))
    op.create_table(
        "gpus",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("server_id", ID, nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("memory_mb", sa.Integer(), nullable=True),
        sa.Column("uuid", sa.String(length=64), nullable=True),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.Column(
            "status",
            _one_of("gpustatus", "available", "assigned", "maintenance", "retired"),
            nullable=False,
        ),
        sa.Column("assigned_to_id", ID, nullable=True),
        sa.Column("assigned_at", TIME, nullable=True),
        sa.Column("purpose", sa.String(length=255), nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("(status = 'assigned') = (assigned_to_id IS NOT NULL)", name=op.f("ck_gpus_holder")),
        sa.CheckConstraint(
            "assigned_to_id IS NOT NULL OR (assigned_at IS NULL AND purpose IS NULL AND expires_at IS NULL)",
            name=op.f("ck_gpus_assignment"),
        ),
        sa.ForeignKeyConstraint(["assigned_to_id"], ["users.id"], name=op.f("fk_gpus_assigned_to_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_gpus_created_by_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_gpus_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpus")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("gpus")
    op.create_index(op.f("ix_gpus_created_by_id"), "gpus", ["created_by_id"])
    op.create_index("ix_gpus_model_folded", "gpus", [sa.text("fold(model)")])
    op.create_index("ix_gpus_serial_number_folded", "gpus", [sa.text("fold(serial_number)")])
    op.create_index("ix_gpus_status_model_server_id", "gpus", ["status", "model", "server_id"])
    op.create_index("uq_gpus_server_id_slot", "gpus", ["server_id", "slot"], unique=True)
    op.create_index("uq_gpus_uuid", "gpus", [sa.text("fold(uuid)")], unique=True)
    op.create_table(
        "gpu_assignments",
        sa.Column("id", ID, nullable=False),
        sa.Column("gpu_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("assigned_by", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=255), nullable=True),
        sa.Column("assigned_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("released_at", TIME, nullable=True),
        sa.Column("released_by", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_gpu_assignments_user_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_assignments")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_gpu_assignments_gpu_id"), "gpu_assignments", ["gpu_id"])
    op.create_index(op.f("ix_gpu_assignments_released_at"), "gpu_assignments", ["released_at"])
    op.create_index(op.f("ix_gpu_assignments_user_id"), "gpu_assignments", ["user_id"])
    op.create_index(
        "uq_gpu_assignments_active",
        "gpu_assignments",
        ["gpu_id"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
        sqlite_where=sa.text("released_at IS NULL"),
    )
    op.create_table(
        "services",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column(
            "service_type",
            _one_of("servicetype", "web", "api", "database", "cache", "queue", "storage", "monitoring", "other"),
            nullable=False,
        ),
        sa.Column("container_id", ID, nullable=True),
        sa.Column("server_id", ID, nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column(
            "protocol",
            _one_of("protocol", "tcp", "udp", "http", "https", "grpc"),
            nullable=False,
        ),
        sa.Column("health_check", sa.String(length=2048), nullable=True),
        sa.Column(
            "status",
            _one_of("servicestatus", "healthy", "unhealthy", "unknown", "disabled"),
            nullable=False,
        ),
        sa.Column("last_checked_at", TIME, nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "CASE WHEN container_id IS NULL THEN 0 ELSE 1 END + CASE WHEN server_id IS NULL THEN 0 ELSE 1 END = 1",
            name=op.f("ck_services_one_parent"),
        ),
        sa.ForeignKeyConstraint(["container_id"], ["containers.id"], name=op.f("fk_services_container_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_services_created_by_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_services_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("services", unversioned=("last_checked_at",))
    op.create_index(op.f("ix_services_created_by_id"), "services", ["created_by_id"])
    op.create_index("ix_services_name_folded", "services", [sa.text("fold(name)")])
    op.create_index(
        "uq_services_container_id_server_id_name",
        "services",
        [
            sa.text("coalesce(container_id, 0)"),
            sa.text("coalesce(server_id, 0)"),
            sa.text("fold(name)"),
        ],
        unique=True,
    )
    op.create_table(
        "service_checks",
        sa.Column("id", ID, nullable=False),
        sa.Column("service_id", ID, nullable=False),
        sa.Column("checked_at", TIME, nullable=False),
        sa.Column(
            "status",
            _one_of("servicestatus", "healthy", "unhealthy", "unknown", "disabled"),
            nullable=False,
        ),
        sa.Column("is_change", sa.Boolean(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("response_ms", sa.Integer(), nullable=True),
        sa.Column("problem", sa.String(length=500), nullable=True),
        sa.Column("checked_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_checks")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_service_checks_is_change_checked_at", "service_checks", ["is_change", "checked_at"])
    op.create_index(op.f("ix_service_checks_service_id"), "service_checks", ["service_id"])
    op.create_table(
        "service_schedules",
        sa.Column("service_id", ID, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"], ["services.id"], name=op.f("fk_service_schedules_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_service_schedules")),
    )
    op.create_index(op.f("ix_service_schedules_due_at"), "service_schedules", ["due_at"])


def _create_assets_and_tasks() -> None:
    """Assets with their pictures, and tasks."""
    op.create_table(
        "assets",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column(
            "asset_type",
            _one_of(
                "assettype",
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
            ),
            nullable=False,
        ),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.Column("asset_tag", sa.String(length=255), nullable=True),
        sa.Column("manufacturer", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column(
            "status",
            _one_of("assetstatus", "in_stock", "in_use", "in_repair", "retired", "lost"),
            nullable=False,
        ),
        sa.Column("datacenter_id", ID, nullable=True),
        sa.Column("assigned_to", sa.String(length=255), nullable=True),
        sa.Column("purchase_date", sa.Date(), nullable=True),
        sa.Column("purchase_price", sa.Numeric(precision=15, scale=2), nullable=True),
        sa.Column("warranty_expires", sa.Date(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("image_url", sa.String(length=255), nullable=True),
        sa.Column("generated_description", sa.Text(), nullable=True),
        sa.Column(
            "description_status",
            _one_of("descriptionstatus", "pending", "described", "kept", "failed"),
            nullable=True,
        ),
        sa.Column("description_problem", sa.String(length=500), nullable=True),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_assets_created_by_id")),
        sa.ForeignKeyConstraint(["datacenter_id"], ["datacenters.id"], name=op.f("fk_assets_datacenter_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("assets", unversioned=("generated_description",))
    op.create_index(op.f("ix_assets_created_by_id"), "assets", ["created_by_id"])
    op.create_index("ix_assets_name_folded", "assets", [sa.text("fold(name)")])
    op.create_index("uq_assets_asset_tag", "assets", [sa.text("fold(asset_tag)")], unique=True)
    op.create_index("uq_assets_serial_number", "assets", [sa.text("fold(serial_number)")], unique=True)
    op.create_table(
        "asset_images",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("asset_id", ID, nullable=False),
        sa.Column("content_type", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("delete_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_images")),
        sa.UniqueConstraint("name", name=op.f("uq_asset_images_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_asset_images_asset_id"), "asset_images", ["asset_id"])
    op.create_index(op.f("ix_asset_images_delete_at"), "asset_images", ["delete_at"])
    op.create_table(
        "tasks",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_completed", sa.Boolean(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.Column("server_id", ID, nullable=True),
        sa.Column("container_id", ID, nullable=True),
        sa.Column("service_id", ID, nullable=True),
        sa.Column("gpu_id", ID, nullable=True),
        sa.Column("asset_id", ID, nullable=True),
        sa.Column("created_by_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "CASE WHEN server_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN container_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN service_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN gpu_id IS NULL THEN 0 ELSE 1 END + "
            "CASE WHEN asset_id IS NULL THEN 0 ELSE 1 END <= 1",
            name=op.f("ck_tasks_one_subject"),
        ),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_tasks_asset_id")),
        sa.ForeignKeyConstraint(["container_id"], ["containers.id"], name=op.f("fk_tasks_container_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_tasks_created_by_id")),
        sa.ForeignKeyConstraint(["gpu_id"], ["gpus.id"], name=op.f("fk_tasks_gpu_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_tasks_server_id")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_tasks_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sqlite_autoincrement=True,
    )
    guards.guard_changes("tasks")
    op.create_index(op.f("ix_tasks_asset_id"), "tasks", ["asset_id"])
    op.create_index(op.f("ix_tasks_container_id"), "tasks", ["container_id"])
    op.create_index(op.f("ix_tasks_created_by_id"), "tasks", ["created_by_id"])
    op.create_index(op.f("ix_tasks_due_date"), "tasks", ["due_date"])
    op.create_index(op.f("ix_tasks_gpu_id"), "tasks", ["gpu_id"])
    op.create_index(op.f("ix_tasks_server_id"), "tasks", ["server_id"])
    op.create_index(op.f("ix_tasks_service_id"), "tasks", ["service_id"])
    op.create_index("ix_tasks_title_folded", "tasks", [sa.text("fold(title)")])


def _create_background_work() -> None:
    """Jobs, outgoing mail, idempotency keys, used download links."""
    op.create_table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject_id", ID, nullable=False),
        sa.Column("origin", JSON, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("lease_expires_at", TIME, nullable=True),
        sa.Column("holder", sa.String(length=32), nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"])
    op.create_table(
        "outbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("recipient", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column(
            "state",
            _one_of("mailstate", "queued", "sending", "sent", "logged", "failed"),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("concluded_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("lease_expires_at", TIME, nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_idempotency_keys_digest")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])
    op.create_table(
        "used_downloads",
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_used_downloads")),
    )
    op.create_index(op.f("ix_used_downloads_expires_at"), "used_downloads", ["expires_at"])


def _create_imports() -> None:
    """Imports: files, plans, reports, remembered column mappings."""
    op.create_table(
        "imports",
        sa.Column("id", ID, nullable=False),
        sa.Column(
            "status",
            _one_of(
                "importstatus",
                "queued",
                "validating",
                "ready",
                "invalid",
                "applying",
                "applied",
                "failed",
                "cancelled",
                "reverting",
                "reverted",
            ),
            nullable=False,
        ),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=True),
        sa.Column(
            "mode",
            _one_of("mode", "upsert", "create", "update"),
            nullable=False,
        ),
        sa.Column("match", sa.String(length=64), nullable=True),
        sa.Column("mapping", JSON, nullable=False),
        sa.Column(
            "extra",
            _one_of("extra", "keep", "ignore", "refuse"),
            nullable=False,
        ),
        sa.Column("encoding", sa.String(length=32), nullable=True),
        sa.Column("dates", _one_of("dateorder", "dmy", "mdy", "ymd"), nullable=True),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("apply_at_once", sa.Boolean(), nullable=False),
        sa.Column(
            "on_error",
            _one_of("onerror", "abort", "skip"),
            nullable=False,
        ),
        sa.Column("is_sample", sa.Boolean(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column(
            "phase",
            _one_of(
                "importphase",
                "queued",
                "reading",
                "validating",
                "planning",
                "storing",
                "applying",
                "reverting",
                "done",
            ),
            nullable=False,
        ),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("sheets", JSON, nullable=False),
        sa.Column("problem", JSON, nullable=True),
        sa.Column("reversal", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("created_by_id", ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_imports_created_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_imports_created_by_id"), "imports", ["created_by_id"])
    op.create_table(
        "import_files",
        sa.Column("import_id", ID, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_files_import_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_import_files")),
    )
    op.create_table(
        "import_parts",
        sa.Column("import_id", ID, autoincrement=False, nullable=False),
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sheet", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("create", sa.Integer(), nullable=False),
        sa.Column("update", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("error", sa.Integer(), nullable=False),
        sa.Column("warned", sa.Integer(), nullable=False),
        sa.Column("created_ids", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_parts_import_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "first", name=op.f("pk_import_parts")),
    )
    op.create_table(
        "import_reports",
        sa.Column("import_id", ID, autoincrement=False, nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("status", _one_of("reportstatus", "making", "ready", "failed"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("changed_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_reports_import_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "language", name=op.f("pk_import_reports")),
    )
    op.create_table(
        "import_mappings",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("mapping", JSON, nullable=False),
        sa.Column("sheets", JSON, nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("import_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_mappings_import_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_import_mappings_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_mappings")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_import_mappings_user_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_import_mappings_import_id"), "import_mappings", ["import_id"])
    op.create_table(
        "saved_views",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("query", sa.String(length=4000), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_saved_views_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("user_id", "resource", "name", name=op.f("uq_saved_views_user_id_resource_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "object_counts",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("counter", sa.String(length=255), nullable=False),
        sa.Column("key", JSON, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_object_counts")),
    )
    op.create_index("ix_object_counts_counter", "object_counts", ["resource_type", "counter", "key"])
