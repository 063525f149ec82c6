"""Services, which run in a container or directly on a server, and the results of their health checks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.containers.models import MAX_PORT, Container
from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Base, Entity, Id
from app.core.db.rules import exactly_one
from app.core.messages import tr
from app.core.values import MAX_ID, Choice, inexact
from app.resource import Extensible, column, reference, url_or_path
from app.servers.models import Server


class ServiceType(Choice):
    WEB = "web", "网站", *inexact("http")
    API = "api", "接口"
    DATABASE = "database", "数据库", "db"
    CACHE = "cache", "缓存"
    QUEUE = "queue", "队列", "消息队列"
    STORAGE = "storage", "存储"
    MONITORING = "monitoring", "监控"
    OTHER = "other", "其他"


class Protocol(Choice):
    TCP = "tcp"
    UDP = "udp"
    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"


class ServiceStatus(Choice):
    HEALTHY = "healthy", "健康", "正常", "up"
    UNHEALTHY = "unhealthy", "异常", "不健康", "down"
    UNKNOWN = "unknown", "未知"
    DISABLED = "disabled", "停用", "已停用"


ONE_PARENT = tr("A service runs either in a container or on a server: give exactly one of them.", rule="together")


class Service(Audited, Extensible, Entity):
    name: Mapped[str] = column("Name", "名称", "服务", "服务名称", "Service")
    service_type: Mapped[ServiceType] = column(
        "Type", "类型", "服务类型", "Service type", default=ServiceType.OTHER, index=True
    )
    container_id: Mapped[int | None] = reference(Container, "Container", "容器", "所属容器", "Pod", parent=True)
    server_id: Mapped[int | None] = reference(Server, "Server", "服务器", "主机", "所属主机", "Host", parent=True)
    port: Mapped[int | None] = column("Port", "端口", minimum=1, maximum=MAX_PORT)
    protocol: Mapped[Protocol] = column("Protocol", "协议", default=Protocol.TCP)
    health_check: Mapped[str | None] = column(
        "Health check", "健康检查", "健康检查地址", type_=sa.String(2048), check=url_or_path
    )
    status: Mapped[ServiceStatus] = column("Status", "状态", "运行状态", default=ServiceStatus.UNKNOWN, index=True)
    # Not audited, or every service would write an audit record per check (once a minute).
    last_checked_at: Mapped[datetime | None] = column("Last checked at", "最近检查时间", read_only=True, audit=False)
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)

    unique_together = (("container_id", "server_id", "name"),)
    sorted_by = ("name", "service_type", "status", "server_id", "container_id", "port", "created_at", "updated_at")
    counted_by = (("status", "service_type", "protocol"), ("created_at",))
    checks = (exactly_one("container_id", "server_id", name="one_parent", message=ONE_PARENT),)

    @classmethod
    def implied(cls, stored: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """A service that loses its health check becomes `unknown`, unless the same change sets a status."""
        loses_check = stored["health_check"] is not None and values.get("health_check", "") is None
        is_said = values.get("status", stored["status"]) is not stored["status"]
        if loses_check and not is_said and stored["status"] is not ServiceStatus.DISABLED:
            return {"status": ServiceStatus.UNKNOWN}
        return {}


class ServiceCheck(Base):
    """The result of one health check.

    It has no foreign key to its service: one that is restored has its history again. No id is used twice.
    """

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    service_id: Mapped[int] = column("Service", type_=Id, minimum=1, maximum=MAX_ID)
    checked_at: Mapped[datetime] = column("Checked at")
    status: Mapped[ServiceStatus] = column("Status")
    # Whether it changed the service's status: such checks are kept for longer.
    is_change: Mapped[bool] = column("Is change")
    http_status: Mapped[int | None] = column("HTTP status")
    response_ms: Mapped[int | None] = column("Response time", unit="ms")
    problem: Mapped[str | None] = column("Problem", type_=sa.String(500))
    # The username, copied because it outlives the user; None for a scheduled check.
    checked_by: Mapped[str | None] = column("Checked by")

    __table_args__ = (
        sa.Index("ix_service_checks_service_id", "service_id"),
        sa.Index("ix_service_checks_is_change_checked_at", "is_change", "checked_at"),
        {"sqlite_autoincrement": True},
    )


class ServiceSchedule(Base):
    """When a service is checked next. A process claims the check by moving `due_at` on."""

    service_id: Mapped[int] = mapped_column(Id, sa.ForeignKey(Service.id, ondelete="CASCADE"), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(index=True)
