"""Environments of servers, such as production."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Entity
from app.resource import color, column


class Environment(Audited, Entity):
    name: Mapped[str] = column("Name", "名称", "环境", "环境名称", "Environment")
    color: Mapped[str | None] = column("Color", "Colour", "颜色", type_=sa.String(7), check=color, lower=True)
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)

    unique_together = (("name",),)
