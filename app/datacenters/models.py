"""Datacenters: the sites of servers and assets."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Entity
from app.resource import column


class Datacenter(Audited, Entity):
    name: Mapped[str] = column("Name", "名称", "实例名", "数据中心", "机房", "机房名称", "Datacenter", "Site")
    code: Mapped[str | None] = column("Code", "编码", "代码", "Slug", type_=sa.String(64))
    location: Mapped[str | None] = column("Location", "地址", "位置", "Address", "Physical Address")
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)

    unique_together = (("name",), ("code",))
