"""GPUs and the history of their assignments."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Base, Entity, Id
from app.core.db.rules import absent_without, present_when
from app.core.messages import tr
from app.core.values import Choice, inexact
from app.resource import Extensible, column, reference
from app.servers.models import Server
from app.users.models import User


class GpuStatus(Choice):
    AVAILABLE = "available", "空闲", "可用", "free", "idle"
    ASSIGNED = "assigned", "已分配", "使用中", "in use", "在用"
    MAINTENANCE = "maintenance", "维护", "维护中", *inexact("faulty")
    RETIRED = "retired", "报废", "已下线"


HOLDER = tr("A GPU is `assigned` exactly while a user holds it: use assign and release.", rule="together")
ASSIGNMENT = tr("Only a GPU that a user holds has the time, purpose and end of an assignment.", rule="together")


class Gpu(Audited, Extensible, Entity):
    label = "model"

    model: Mapped[str] = column("Model", "型号", "GPU型号", "GPU", "GPU model", "Product")
    server_id: Mapped[int] = reference(Server, "Server", "服务器", "所属设备", "所属主机", "Host", "Node", parent=True)
    slot: Mapped[int | None] = column("Slot", "插槽", "序号", "编号", "Index", minimum=0, maximum=1024)
    memory_mb: Mapped[int | None] = column(
        "Memory", "显存", "显存容量", "GPU memory", unit="MB", minimum=0, usual=(512, 1 << 20)
    )
    uuid: Mapped[str | None] = column("UUID", "GPU UUID", type_=sa.String(64), natural=False)
    serial_number: Mapped[str | None] = column(*titles.SERIAL_NUMBER, index=True, natural=False)
    status: Mapped[GpuStatus] = column("Status", "状态", "使用状态", default=GpuStatus.AVAILABLE)
    assigned_to_id: Mapped[int | None] = reference(User, "Assigned to", "使用人", "分配给", read_only=True)
    assigned_at: Mapped[datetime | None] = column("Assigned at", "分配时间", read_only=True)
    # Of the current assignment, so that the audit log has them, and with them what a restore brings back.
    purpose: Mapped[str | None] = column("Assignment purpose", "分配用途", read_only=True)
    expires_at: Mapped[datetime | None] = column("Assigned until", "分配到期时间", read_only=True)
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)

    unique_together = (("server_id", "slot"), ("uuid",))
    sorted_by = ("model", "server_id", "status", "assigned_to_id", "assigned_at", "created_at", "updated_at")
    counted_by = (("status", "model"), ("assigned_to_id",), ("created_at",))
    checks = (
        present_when("assigned_to_id", status=GpuStatus.ASSIGNED, name="holder", message=HOLDER),
        absent_without("assigned_to_id", "assigned_at", "purpose", "expires_at", name="assignment", message=ASSIGNMENT),
    )
    # Covers the queries of availability.py (index-only scan).
    __table_args__ = (sa.Index("ix_gpus_status_model_server_id", "status", "model", "server_id"), Entity.__table_args__)


class GpuAssignment(Base):
    """One assignment, current or past.

    It outlives the user, whose name is copied, and the GPU, which has no foreign key: a restored GPU has its history
    again. No id is used twice. While a GPU is deleted, its assignment stays open.
    """

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    gpu_id: Mapped[int] = mapped_column(Id, index=True)
    user_id: Mapped[int | None] = mapped_column(Id, sa.ForeignKey(User.id, ondelete="SET NULL"), index=True)
    username: Mapped[str]
    assigned_by: Mapped[str]
    purpose: Mapped[str | None]
    assigned_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None] = mapped_column(index=True)
    released_by: Mapped[str | None]

    __table_args__ = (
        # At most one active assignment of a GPU, whatever the code above does.
        sa.Index(
            "uq_gpu_assignments_active",
            "gpu_id",
            unique=True,
            postgresql_where=sa.text("released_at IS NULL"),
            sqlite_where=sa.text("released_at IS NULL"),
            info={"fields": ("gpu_id",), "folded": ()},
        ),
        {"sqlite_autoincrement": True},
    )
