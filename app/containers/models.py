"""Containers, placed on a server or not yet placed, and the host ports that they use."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Mapped, mapped_column

from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Base, Entity, Id
from app.core.messages import tr
from app.core.values import Choice, inexact
from app.resource import Extensible, Integer, column, reference
from app.servers.models import Server

MAX_PORT = 65_535


class ContainerStatus(Choice):
    PENDING = "pending", "等待中", *inexact("created")
    RUNNING = "running", "运行中", "在用", "up"
    PAUSED = "paused", "已暂停", "暂停"
    RESTARTING = "restarting", "重启中"
    STOPPED = "stopped", "已停止", "停止", "exited"
    SUCCEEDED = "succeeded", "成功", "completed"
    FAILED = "failed", "失败", "error", *inexact("dead")
    UNKNOWN = "unknown", "未知"


class PortMappingSchema(Schema):
    """A port of the server that is forwarded to a port of the container."""

    host_port = Integer(
        required=True, validate=validate.Range(1, MAX_PORT), metadata={"titles": ("Host port", "主机端口")}
    )
    container_port = Integer(
        required=True, validate=validate.Range(1, MAX_PORT), metadata={"titles": ("Container port", "容器端口")}
    )
    protocol = fields.String(
        required=True,
        validate=validate.OneOf(("tcp", "udp", "sctp")),
        metadata={"enumeration": "Transport", "titles": ("Protocol", "协议")},
    )


class Container(Audited, Extensible, Entity):
    name: Mapped[str] = column("Name", "名称", "容器", "容器名称", "Container", "Pod", "Pod name")
    server_id: Mapped[int | None] = reference(
        Server, "Server", "服务器", "主机", "所属主机", "Host", "Node", parent=True
    )
    image: Mapped[str | None] = column("Image", "镜像", type_=sa.String(512))
    status: Mapped[ContainerStatus] = column(
        "Status", "状态", "运行状态", "State", "Phase", default=ContainerStatus.UNKNOWN, index=True
    )
    cpu_limit: Mapped[float | None] = column("CPU limit", "CPU限制", "CPU", unit="cores", minimum=0, usual=(0, 256))
    memory_limit_mb: Mapped[int | None] = column(
        "Memory limit", "内存限制", "Memory", unit="MB", minimum=0, usual=(4, 4 << 20)
    )
    port_mappings: Mapped[list[dict[str, Any]]] = column(
        "Port mappings", "端口映射", "Ports", members=PortMappingSchema, default=list
    )
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)

    unique_together = (("server_id", "name"),)
    sorted_by = ("name", "server_id", "image", "status", "created_at", "updated_at")
    counted_by = (("status",), ("created_at",))

    @classmethod
    def validate(cls, values: Mapping[str, Any]) -> dict[str, list[str]]:
        errors = super().validate(values)
        seen: set[tuple[int, str]] = set()
        for place, mapping in enumerate(values["port_mappings"] or ()):
            host_port = mapping["host_port"], mapping["protocol"]
            if host_port in seen:
                errors[f"port_mappings.{place}.host_port"] = [
                    tr("{port}/{protocol} is mapped already.", rule="taken", port=host_port[0], protocol=host_port[1])
                ]
            seen.add(host_port)
        return errors


class HostPort(Base):
    """A host port that a container uses, unique per server and protocol.

    Triggers derive the rows from `containers`, so that also bulk statements and raw SQL are checked.
    """

    __tablename__ = "container_ports"

    server_id: Mapped[int] = mapped_column(Id, autoincrement=False)
    protocol: Mapped[str] = mapped_column(sa.String(8))
    host_port: Mapped[int]
    container_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(Container.id, ondelete="CASCADE"), index=True)

    __table_args__ = (
        sa.PrimaryKeyConstraint("server_id", "protocol", "host_port", info={"fields": ("port_mappings",)}),
    )
