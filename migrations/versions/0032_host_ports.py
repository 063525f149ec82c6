"""A host port is used once per server and protocol."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0056"
branch_labels = None
depends_on = None

_FUNCTION = """
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
"""
_ON_POSTGRESQL = (
    _FUNCTION,
    (
        "CREATE TRIGGER containers_host_ports_new AFTER INSERT ON containers FOR EACH ROW "
        "WHEN (NEW.port_mappings <> '[]') EXECUTE FUNCTION keep_host_ports()"
    ),
    (
        "CREATE TRIGGER containers_host_ports_changed AFTER UPDATE OF server_id, port_mappings ON containers "
        "FOR EACH ROW WHEN (OLD.server_id IS DISTINCT FROM NEW.server_id OR OLD.port_mappings <> NEW.port_mappings) "
        "EXECUTE FUNCTION keep_host_ports()"
    ),
    # Of those that share a port already, the first has it; the others hear of it when they are changed.
    (
        "INSERT INTO container_ports (server_id, protocol, host_port, container_id) "
        "SELECT server_id, mapping ->> 'protocol', (mapping ->> 'host_port')::integer, id "
        "FROM containers, jsonb_array_elements(port_mappings) AS mapping "
        "WHERE server_id IS NOT NULL ORDER BY id ON CONFLICT DO NOTHING"
    ),
)

_TAKE = (
    "INSERT INTO container_ports (server_id, protocol, host_port, container_id) "
    "SELECT NEW.server_id, json_extract(value, '$.protocol'), json_extract(value, '$.host_port'), NEW.id "
    "FROM json_each(NEW.port_mappings) WHERE NEW.server_id IS NOT NULL;"
)
_RELEASE = "DELETE FROM container_ports WHERE container_id = OLD.id;"
_ON_SQLITE = (
    f"CREATE TRIGGER containers_host_ports_new AFTER INSERT ON containers BEGIN {_TAKE} END",
    (
        "CREATE TRIGGER containers_host_ports_changed AFTER UPDATE OF server_id, port_mappings ON containers "
        f"BEGIN {_RELEASE} {_TAKE} END"
    ),
    (
        "INSERT OR IGNORE INTO container_ports (server_id, protocol, host_port, container_id) "
        "SELECT server_id, json_extract(value, '$.protocol'), json_extract(value, '$.host_port'), containers.id "
        "FROM containers, json_each(containers.port_mappings) WHERE server_id IS NOT NULL ORDER BY containers.id"
    ),
)


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    # A migration that waits for a lock makes everybody behind it wait: it gives up instead.
    if on_postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "container_ports",
        sa.Column("server_id", key, autoincrement=False, nullable=False),
        sa.Column("protocol", sa.String(length=8), nullable=False),
        sa.Column("host_port", sa.Integer(), nullable=False),
        sa.Column("container_id", key, nullable=False),
        sa.ForeignKeyConstraint(
            ["container_id"], ["containers.id"], name=op.f("fk_container_ports_container_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("server_id", "protocol", "host_port", name=op.f("pk_container_ports")),
    )
    op.create_index(op.f("ix_container_ports_container_id"), "container_ports", ["container_id"])
    for statement in _ON_POSTGRESQL if on_postgresql else _ON_SQLITE:
        op.execute(statement)


def downgrade() -> None:
    for name in ("containers_host_ports_new", "containers_host_ports_changed"):
        op.execute(f"DROP TRIGGER {name}" + (" ON containers" if op.get_bind().dialect.name == "postgresql" else ""))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION keep_host_ports()")
    op.drop_table("container_ports")
