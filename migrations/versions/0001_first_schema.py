"""The first schema: users, infrastructure, audit log, jobs, imports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations import guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

VERSIONED = ("datacenters", "environments", "servers", "containers", "services", "gpus")
USER_BOOKKEEPING = (
    "last_login_at",
    "last_login_ip",
    "password_version",
    "failed_login_attempts",
    "locked_until",
)


def upgrade() -> None:
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("username", sa.String(length=255), nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("resource_name", sa.String(length=255), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=255), nullable=True),
        sa.Column("token_id", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_logs_action"), "audit_logs", ["action"], unique=False)
    op.create_index(op.f("ix_audit_logs_created_at"), "audit_logs", ["created_at"], unique=False)
    op.create_index(op.f("ix_audit_logs_request_id"), "audit_logs", ["request_id"], unique=False)
    op.create_index(op.f("ix_audit_logs_user_id"), "audit_logs", ["user_id"], unique=False)
    op.create_index(
        "uq_audit_logs_resource_type_resource_id_version",
        "audit_logs",
        ["resource_type", "resource_id", "version"],
        unique=True,
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("origin", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("holder", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("full_name", sa.String(length=255), nullable=True),
        sa.Column("phone", sa.String(length=64), nullable=True),
        sa.Column(
            "role",
            sa.Enum("admin", "user", name="role", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_login_ip", sa.String(length=45), nullable=True),
        sa.Column("password_hash", sa.String(length=60), nullable=True),
        sa.Column("password_version", sa.Integer(), nullable=False),
        sa.Column("failed_login_attempts", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_users_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_users_created_by_id"), "users", ["created_by_id"], unique=False)
    op.create_index("uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_index("uq_users_username", "users", [sa.literal_column("lower(username)")], unique=True)
    op.create_table(
        "auth_sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("password_version", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ip_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_auth_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_auth_sessions")),
    )
    op.create_index(op.f("ix_auth_sessions_user_id"), "auth_sessions", ["user_id"], unique=False)
    op.create_table(
        "datacenters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("location", sa.String(length=255), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_datacenters_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datacenters")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_datacenters_created_by_id"), "datacenters", ["created_by_id"], unique=False)
    op.create_index("uq_datacenters_code", "datacenters", ["code"], unique=True)
    op.create_index("uq_datacenters_name", "datacenters", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "environments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("color", sa.String(length=7), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_environments_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_environments_created_by_id"), "environments", ["created_by_id"], unique=False)
    op.create_index("uq_environments_name", "environments", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "imports",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "queued",
                "validating",
                "ready",
                "invalid",
                "applying",
                "applied",
                "failed",
                name="importstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=True),
        sa.Column(
            "mode",
            sa.Enum(
                "upsert",
                "create",
                "update",
                name="mode",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("match", sa.String(length=64), nullable=True),
        sa.Column("mapping", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column(
            "extra",
            sa.Enum(
                "keep",
                "ignore",
                "refuse",
                name="extra",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("apply_at_once", sa.Boolean(), nullable=False),
        sa.Column(
            "on_error",
            sa.Enum(
                "abort",
                "skip",
                name="onerror",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("sheets", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("problem", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by_id"],
            ["users.id"],
            name=op.f("fk_imports_created_by_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_imports_created_by_id"), "imports", ["created_by_id"], unique=False)
    op.create_table(
        "import_files",
        sa.Column(
            "import_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["imports.id"],
            name=op.f("fk_import_files_import_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_import_files")),
    )
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
            sa.Enum(
                "create",
                "update",
                "unchanged",
                "error",
                name="action",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
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
        "ix_import_rows_import_id_action_position",
        "import_rows",
        ["import_id", "action", "position"],
        unique=False,
    )
    op.create_table(
        "servers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=True),
        sa.Column(
            "server_type",
            sa.Enum(
                "physical",
                "virtual",
                name="servertype",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "maintenance",
                "offline",
                "retired",
                name="serverstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("datacenter_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("environment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
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
        sa.Column("tags", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_servers_created_by_id")),
        sa.ForeignKeyConstraint(["datacenter_id"], ["datacenters.id"], name=op.f("fk_servers_datacenter_id")),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name=op.f("fk_servers_environment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servers")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_servers_created_by_id"), "servers", ["created_by_id"], unique=False)
    op.create_index(op.f("ix_servers_datacenter_id"), "servers", ["datacenter_id"], unique=False)
    op.create_index(op.f("ix_servers_environment_id"), "servers", ["environment_id"], unique=False)
    op.create_index("ix_servers_lower_name", "servers", [sa.literal_column("lower(name)")], unique=False)
    op.create_index(op.f("ix_servers_status"), "servers", ["status"], unique=False)
    op.create_index("uq_servers_asset_tag", "servers", ["asset_tag"], unique=True)
    op.create_index(
        "uq_servers_datacenter_id_internal_ip",
        "servers",
        ["datacenter_id", "internal_ip"],
        unique=True,
    )
    op.create_index(
        "uq_servers_datacenter_id_name",
        "servers",
        [sa.literal_column("coalesce(datacenter_id, 0)"), sa.literal_column("lower(name)")],
        unique=True,
    )
    op.create_table(
        "containers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("image", sa.String(length=512), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "running",
                "paused",
                "restarting",
                "stopped",
                "succeeded",
                "failed",
                "unknown",
                name="containerstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("cpu_limit", sa.Numeric(precision=15, scale=3, asdecimal=False), nullable=True),
        sa.Column("memory_limit_mb", sa.Integer(), nullable=True),
        sa.Column(
            "port_mappings",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_containers_created_by_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_containers_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_containers")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_containers_created_by_id"), "containers", ["created_by_id"], unique=False)
    op.create_index("ix_containers_lower_name", "containers", [sa.literal_column("lower(name)")], unique=False)
    op.create_index(op.f("ix_containers_server_id"), "containers", ["server_id"], unique=False)
    op.create_index(op.f("ix_containers_status"), "containers", ["status"], unique=False)
    op.create_index(
        "uq_containers_server_id_name",
        "containers",
        [sa.literal_column("coalesce(server_id, 0)"), sa.literal_column("lower(name)")],
        unique=True,
    )
    op.create_table(
        "gpus",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("memory_mb", sa.Integer(), nullable=True),
        sa.Column("uuid", sa.String(length=64), nullable=True),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "available",
                "assigned",
                "maintenance",
                "retired",
                name="gpustatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("assigned_to_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(status = 'assigned') = (assigned_to_id IS NOT NULL)", name=op.f("ck_gpus_holder")),
        sa.ForeignKeyConstraint(["assigned_to_id"], ["users.id"], name=op.f("fk_gpus_assigned_to_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_gpus_created_by_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_gpus_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpus")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_gpus_assigned_to_id"), "gpus", ["assigned_to_id"], unique=False)
    op.create_index(op.f("ix_gpus_created_by_id"), "gpus", ["created_by_id"], unique=False)
    op.create_index(op.f("ix_gpus_model"), "gpus", ["model"], unique=False)
    op.create_index(op.f("ix_gpus_server_id"), "gpus", ["server_id"], unique=False)
    op.create_index(op.f("ix_gpus_status"), "gpus", ["status"], unique=False)
    op.create_index("uq_gpus_server_id_slot", "gpus", ["server_id", "slot"], unique=True)
    op.create_index("uq_gpus_uuid", "gpus", ["uuid"], unique=True)
    op.create_table(
        "gpu_assignments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("gpu_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("assigned_by", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=255), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["gpu_id"], ["gpus.id"], name=op.f("fk_gpu_assignments_gpu_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_gpu_assignments_user_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_assignments")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_gpu_assignments_gpu_id"), "gpu_assignments", ["gpu_id"], unique=False)
    op.create_index(op.f("ix_gpu_assignments_user_id"), "gpu_assignments", ["user_id"], unique=False)
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
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column(
            "service_type",
            sa.Enum(
                "web",
                "api",
                "database",
                "cache",
                "queue",
                "storage",
                "monitoring",
                "other",
                name="servicetype",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("container_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column(
            "protocol",
            sa.Enum(
                "tcp",
                "udp",
                "http",
                "https",
                "grpc",
                name="protocol",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("health_check", sa.String(length=2048), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "healthy",
                "unhealthy",
                "unknown",
                "disabled",
                name="servicestatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("last_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(container_id IS NULL) <> (server_id IS NULL)", name=op.f("ck_services_one_parent")),
        sa.ForeignKeyConstraint(["container_id"], ["containers.id"], name=op.f("fk_services_container_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_services_created_by_id")),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_services_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_services_container_id"), "services", ["container_id"], unique=False)
    op.create_index(op.f("ix_services_created_by_id"), "services", ["created_by_id"], unique=False)
    op.create_index(op.f("ix_services_server_id"), "services", ["server_id"], unique=False)
    op.create_index(op.f("ix_services_service_type"), "services", ["service_type"], unique=False)
    op.create_index(op.f("ix_services_status"), "services", ["status"], unique=False)
    op.create_index(
        "uq_services_container_id_server_id_name",
        "services",
        [
            sa.literal_column("coalesce(container_id, 0)"),
            sa.literal_column("coalesce(server_id, 0)"),
            sa.literal_column("lower(name)"),
        ],
        unique=True,
    )
    guards.create_functions()
    guards.guard_append_only("audit_logs")
    guards.guard_versions("users", unversioned=USER_BOOKKEEPING)
    for table in VERSIONED:
        guards.guard_versions(table)


def downgrade() -> None:
    op.drop_index("uq_services_container_id_server_id_name", table_name="services")
    op.drop_index(op.f("ix_services_status"), table_name="services")
    op.drop_index(op.f("ix_services_service_type"), table_name="services")
    op.drop_index(op.f("ix_services_server_id"), table_name="services")
    op.drop_index(op.f("ix_services_created_by_id"), table_name="services")
    op.drop_index(op.f("ix_services_container_id"), table_name="services")
    op.drop_table("services")
    op.drop_index(
        "uq_gpu_assignments_active",
        table_name="gpu_assignments",
        postgresql_where=sa.text("released_at IS NULL"),
        sqlite_where=sa.text("released_at IS NULL"),
    )
    op.drop_index(op.f("ix_gpu_assignments_user_id"), table_name="gpu_assignments")
    op.drop_index(op.f("ix_gpu_assignments_gpu_id"), table_name="gpu_assignments")
    op.drop_table("gpu_assignments")
    op.drop_index("uq_gpus_uuid", table_name="gpus")
    op.drop_index("uq_gpus_server_id_slot", table_name="gpus")
    op.drop_index(op.f("ix_gpus_status"), table_name="gpus")
    op.drop_index(op.f("ix_gpus_server_id"), table_name="gpus")
    op.drop_index(op.f("ix_gpus_model"), table_name="gpus")
    op.drop_index(op.f("ix_gpus_created_by_id"), table_name="gpus")
    op.drop_index(op.f("ix_gpus_assigned_to_id"), table_name="gpus")
    op.drop_table("gpus")
    op.drop_index("uq_containers_server_id_name", table_name="containers")
    op.drop_index(op.f("ix_containers_status"), table_name="containers")
    op.drop_index(op.f("ix_containers_server_id"), table_name="containers")
    op.drop_index("ix_containers_lower_name", table_name="containers")
    op.drop_index(op.f("ix_containers_created_by_id"), table_name="containers")
    op.drop_table("containers")
    op.drop_index("uq_servers_datacenter_id_name", table_name="servers")
    op.drop_index("uq_servers_datacenter_id_internal_ip", table_name="servers")
    op.drop_index("uq_servers_asset_tag", table_name="servers")
    op.drop_index(op.f("ix_servers_status"), table_name="servers")
    op.drop_index("ix_servers_lower_name", table_name="servers")
    op.drop_index(op.f("ix_servers_environment_id"), table_name="servers")
    op.drop_index(op.f("ix_servers_datacenter_id"), table_name="servers")
    op.drop_index(op.f("ix_servers_created_by_id"), table_name="servers")
    op.drop_table("servers")
    op.drop_index("ix_import_rows_import_id_action_position", table_name="import_rows")
    op.drop_table("import_rows")
    op.drop_table("import_files")
    op.drop_index(op.f("ix_imports_created_by_id"), table_name="imports")
    op.drop_table("imports")
    op.drop_index("uq_environments_name", table_name="environments")
    op.drop_index(op.f("ix_environments_created_by_id"), table_name="environments")
    op.drop_table("environments")
    op.drop_index("uq_datacenters_name", table_name="datacenters")
    op.drop_index("uq_datacenters_code", table_name="datacenters")
    op.drop_index(op.f("ix_datacenters_created_by_id"), table_name="datacenters")
    op.drop_table("datacenters")
    op.drop_index(op.f("ix_auth_sessions_user_id"), table_name="auth_sessions")
    op.drop_table("auth_sessions")
    op.drop_index("uq_users_username", table_name="users")
    op.drop_index("uq_users_email", table_name="users")
    op.drop_index(op.f("ix_users_created_by_id"), table_name="users")
    op.drop_table("users")
    op.drop_index(op.f("ix_jobs_state"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index("uq_audit_logs_resource_type_resource_id_version", table_name="audit_logs")
    op.drop_index(op.f("ix_audit_logs_user_id"), table_name="audit_logs")
    op.drop_index(op.f("ix_audit_logs_request_id"), table_name="audit_logs")
    op.drop_index(op.f("ix_audit_logs_created_at"), table_name="audit_logs")
    op.drop_index(op.f("ix_audit_logs_action"), table_name="audit_logs")
    op.drop_table("audit_logs")
    guards.drop_functions()
