"""Tasks: private to-do items, each about one object at most."""

from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from app.assets.models import Asset
from app.containers.models import Container
from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Entity
from app.core.db.rules import at_most_one
from app.core.messages import tr
from app.gpus.models import Gpu
from app.resource import Private, column, reference
from app.servers.models import Server
from app.services.models import Service

ONE_SUBJECT = tr("A task may refer to one object at most: a server, container, service, GPU or asset.", rule="together")


class Task(Audited, Private, Entity):
    label = "title"

    title: Mapped[str] = column("Title", "标题", "任务", "任务名称", "Task", "To do", "Subject")
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)
    is_completed: Mapped[bool] = column("Completed", "完成", "已完成", "Done", "Is completed", default=False)
    due_date: Mapped[date | None] = column("Due date", "截止日期", "到期日", "Due", "Deadline", index=True)
    server_id: Mapped[int | None] = reference(Server, "Server", "服务器", "主机")
    container_id: Mapped[int | None] = reference(Container, "Container", "容器")
    service_id: Mapped[int | None] = reference(Service, "Service", "服务")
    gpu_id: Mapped[int | None] = reference(Gpu, "GPU", "显卡")
    asset_id: Mapped[int | None] = reference(Asset, "Asset", "资产")

    checks = (
        at_most_one(
            "server_id", "container_id", "service_id", "gpu_id", "asset_id", name="one_subject", message=ONE_SUBJECT
        ),
    )
