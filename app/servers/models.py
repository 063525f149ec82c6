"""Servers, physical or virtual."""

from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from app.core import titles
from app.core.audit.declaration import Audited
from app.core.db.models import Entity
from app.core.db.rules import SoftUnique
from app.core.messages import Term
from app.core.values import Choice, inexact
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.resource import Extensible, column, ip_address, mac_address, reference


class ServerType(Choice):
    PHYSICAL = "physical", "bare metal", "物理机", "物理服务器", *inexact("device", "node", "storage")
    VIRTUAL = "virtual", "vm", "virtual machine", "虚拟机", *inexact("云主机")


class ServerStatus(Choice):
    ACTIVE = "active", "在用", "运行中", "正常", "running", "online", "in use", "up", "activo"
    MAINTENANCE = "maintenance", "维护", "维护中", *inexact("维修")
    OFFLINE = "offline", "离线", "关机", "stopped", "down", "inactive", "inactivo", *inexact("停用")
    RETIRED = "retired", "报废", "下线", "已下线", "decommissioned", *inexact("decommissioning")


class Server(Audited, Extensible, Entity):
    # The last four are also titles of `hostname`: without a column for the name, the hostname names the server.
    name: Mapped[str] = column(
        "Name", "名称", "实例名", "服务器", "服务器名称", "设备名称", "Server", "Server name", "Device name", "Host",
        "Hostname", "主机名", "主机名称", "FQDN",
    )  # fmt: skip
    hostname: Mapped[str | None] = column("Hostname", "主机名", "主机名称", "FQDN", "Host name", "DNS name", index=True)
    server_type: Mapped[ServerType] = column(
        "Type", "类型", "服务器类型", "Kind", "Server type", default=ServerType.PHYSICAL
    )
    status: Mapped[ServerStatus] = column(
        "Status",
        "状态",
        "运行状态",
        "State",
        "Estado operativo",
        default=ServerStatus.ACTIVE,
        index=True,
    )
    datacenter_id: Mapped[int | None] = reference(Datacenter, *titles.DATACENTER)
    environment_id: Mapped[int | None] = reference(Environment, "Environment", "环境", "所属环境", "Env", "Entorno")
    rack: Mapped[str | None] = column("Rack", "机柜", "所属机柜", "Cabinet", type_=sa.String(64), index=True)
    rack_unit: Mapped[int | None] = column(
        # Something of half a unit's height stands in the unit whose number is rounded down: 12.5 in unit 12.
        "Rack unit",
        "U位",
        "机位",
        "Position",
        minimum=0,
        maximum=100,
        rounds_down=True,
    )
    internal_ip: Mapped[str | None] = column(
        "Internal IP", "内网IP", "IP地址", "IP", "IP address", "Private IP", "IPv4 address",
        type_=sa.String(45), check=ip_address, lower=True,
    )  # fmt: skip
    external_ip: Mapped[str | None] = column(
        "External IP", "外网IP", "公网IP", "Public IP", type_=sa.String(45), check=ip_address, lower=True
    )
    management_ip: Mapped[str | None] = column(
        "Management IP", "管理IP", "带外IP", "OOB IP", "BMC IP", "IPMI IP", "IP de Administración",
        type_=sa.String(45), check=ip_address, lower=True,
    )  # fmt: skip
    mac_address: Mapped[str | None] = column(
        "MAC address", "MAC地址", "内网MAC地址", "MAC", type_=sa.String(59), check=mac_address, lower=True
    )
    manufacturer: Mapped[str | None] = column(*titles.MANUFACTURER)
    model: Mapped[str | None] = column(*titles.MODEL)
    serial_number: Mapped[str | None] = column(*titles.SERIAL_NUMBER, index=True)
    asset_tag: Mapped[str | None] = column(*titles.ASSET_TAG)
    os: Mapped[str | None] = column(
        "OS", "操作系统", "操作系统名称", "Operating system", "Platform", "Sistema operativo"
    )
    cpu_model: Mapped[str | None] = column("CPU model", "CPU型号", "CPU", "Processor")
    cpu_cores: Mapped[int | None] = column(
        "CPU cores", "CPU核数", "CPU核心数", "核数", "vCPUs", "Cores", unit="cores", minimum=0, usual=(1, 4096)
    )
    memory_gb: Mapped[float | None] = column(
        "Memory", "内存", "内存容量", "RAM", unit="GB", minimum=0, usual=(0.0625, 6144)
    )
    disk_gb: Mapped[float | None] = column(
        "Disk", "磁盘", "硬盘", "磁盘容量", "Storage", unit="GB", minimum=0, usual=(1, 262_144)
    )
    purchase_date: Mapped[date | None] = column(*titles.PURCHASE_DATE)
    warranty_expires: Mapped[date | None] = column(*titles.WARRANTY)
    owner: Mapped[str | None] = column("Owner", "负责人", "维护人", "责任人", "Sponsor")
    tags: Mapped[list[str]] = column("Tags", "标签", "Labels", default=list)
    description: Mapped[str | None] = column(*titles.DESCRIPTION, type_=sa.Text)

    unique_together = (("datacenter_id", "name"), ("datacenter_id", "internal_ip"), ("asset_tag",))
    sorted_by = (
        "name", "hostname", "server_type", "status", "datacenter_id", "environment_id", "rack", "rack_unit",
        "internal_ip", "manufacturer", "model", "serial_number", "asset_tag", "os", "cpu_cores", "memory_gb",
        "warranty_expires", "owner", "created_at", "updated_at",
    )  # fmt: skip
    counted_by = (
        ("status", "server_type", "datacenter_id", "environment_id"),
        ("status", "warranty_expires"),
        ("created_at",),
    )
    # What people filter by together: matches are counted without reading the table.
    __table_args__ = (
        sa.Index(
            "ix_servers_counted",
            *("datacenter_id", "status", "server_type", "environment_id", "memory_gb", "cpu_cores"),
        ),
        Entity.__table_args__,
    )
    # Blades share a unit, and a server that was moved may not be corrected yet: no reason to refuse it.
    rarely_shared = (
        SoftUnique(
            "strict_racks",
            ("rack", "datacenter_id", "rack_unit"),
            noun=Term("rack unit", "机架位置"),
            description="Refuse (409) a rack unit that another server has.",
        ),
    )
