"""Office and network equipment, and its images."""

from datetime import date, datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Base, Entity, Id
from app.core.values import Choice, inexact
from app.datacenters.models import Datacenter
from app.resource import Extensible, column, reference


class AssetType(Choice):
    LAPTOP = "laptop", "笔记本", "笔记本电脑", "notebook"
    DESKTOP = "desktop", "台式机", "台式电脑", "电脑主机", "pc", *inexact("主机", "computer", "workstation")
    MONITOR = "monitor", "显示器", "显示屏", "display"
    PHONE = "phone", "手机", "电话", "mobile"
    TABLET = "tablet", "平板", "平板电脑"
    PRINTER = "printer", "打印机", *inexact("复印机", "一体机")
    NETWORK = (
        "network", "网络设备",
        *inexact("switch", "hpc switch", "router", "firewall", "access point", "交换机", "路由器", "防火墙"),
    )  # fmt: skip
    STORAGE = "storage", "存储", "存储设备", *inexact("nas", "san")
    RACK = "rack", "机柜", "cabinet"
    PERIPHERAL = "peripheral", "外设", *inexact("keyboard", "mouse", "docking station")
    OTHER = "other", "其他", *inexact("pdu", "power distribution unit", "ups", "配电单元")


class AssetStatus(Choice):
    IN_STOCK = "in_stock", "库存", "在库", "available", "inventory", "stock", *inexact("闲置", "备用", "spare")
    IN_USE = "in_use", "在用", "使用中", "领用", "已领用", "active", "deployed", "assigned"
    IN_REPAIR = "in_repair", "维修", "维修中", "repair", *inexact("broken")
    RETIRED = "retired", "报废", "已报废", "decommissioned", *inexact("disposed")
    LOST = "lost", "丢失", "遗失", *inexact("stolen")


class DescriptionStatus(Choice):
    """The state of the generated description of an asset's image."""

    PENDING = "pending", "待描述"
    DESCRIBED = "described", "已描述"
    # A user had written a description, or did so meanwhile; it was not replaced.
    KEPT = "kept", "保留"
    FAILED = "failed", "失败"


class Asset(Audited, Extensible, Entity):
    name: Mapped[str] = column("Name", "名称", "资产名称", "设备名称", "实例名", "Asset", "Asset name", "Device name")
    asset_type: Mapped[AssetType] = column("Type", "类型", "资产类型", "Asset type", "Category", index=True)
    serial_number: Mapped[str | None] = column(*titles.SERIAL_NUMBER)
    asset_tag: Mapped[str | None] = column(*titles.ASSET_TAG)
    manufacturer: Mapped[str | None] = column(*titles.MANUFACTURER)
    model: Mapped[str | None] = column(*titles.MODEL)
    status: Mapped[AssetStatus] = column("Status", "状态", "资产状态", default=AssetStatus.IN_STOCK, index=True)
    datacenter_id: Mapped[int | None] = reference(Datacenter, *titles.DATACENTER)
    assigned_to: Mapped[str | None] = column("Assigned to", "使用人", "领用人", "使用者", "User", "Holder")
    purchase_date: Mapped[date | None] = column(*titles.PURCHASE_DATE)
    purchase_price: Mapped[Decimal | None] = column(
        "Purchase price", "采购价格", "购买价格", "购置价格", "购置金额", "Price", "Cost", minimum=0
    )
    warranty_expires: Mapped[date | None] = column(*titles.WARRANTY)
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)
    image_url: Mapped[str | None] = column("Image", "图片", read_only=True)
    description_status: Mapped[DescriptionStatus | None] = column("Description status", "描述状态", read_only=True)
    description_problem: Mapped[str | None] = column(
        "Description problem", "描述问题", type_=sa.String(500), read_only=True
    )
    # While the description equals it, no person has edited it, so that another one may replace it.
    generated_description: Mapped[str | None] = column("Generated description", type_=sa.Text, hidden=True, audit=False)

    # Not the name: an organisation has forty of one monitor.
    unique_together = (("asset_tag",), ("serial_number",))
    sorted_by = (
        "name", "asset_type", "status", "serial_number", "asset_tag", "manufacturer", "model", "datacenter_id",
        "assigned_to", "purchase_date", "purchase_price", "warranty_expires", "created_at", "updated_at",
    )  # fmt: skip
    counted_by = (("status", "asset_type", "datacenter_id"), ("status", "warranty_expires"), ("created_at",))

    @property
    def may_be_described(self) -> bool:
        """Whether a generated description would replace nothing that a person has written."""
        return self.description in (None, self.generated_description)


class AssetImage(Base):
    """An image file. The row is committed before the file is written, so that no file is without a row.

    `asset_id` is no foreign key: the image outlives a deleted asset, which might be restored.
    """

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64), unique=True)
    asset_id: Mapped[int] = mapped_column(Id, index=True)
    content_type: Mapped[str] = mapped_column(sa.String(32))
    # How often the provider was too busy to describe it.
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    # When the cleanup may delete the file; None while it is the asset's current image.
    delete_at: Mapped[datetime | None] = mapped_column(index=True)

    __table_args__ = ({"sqlite_autoincrement": True},)
