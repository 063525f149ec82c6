"""A generated estate of any size, written in bulk without audit records, for benchmarks that only read."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.assets.models import Asset, AssetStatus, AssetType
from app.containers.models import Container, ContainerStatus
from app.core.db.dialects.registry import current_dialect
from app.core.db.statements import write_rows
from app.core.db.unit_of_work import db
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.servers.models import Server, ServerStatus, ServerType
from app.services.models import Service, ServiceStatus, ServiceType
from app.users.models import User
from bench.scratch import Scratch

START = datetime(2026, 1, 1, tzinfo=UTC)
CITIES = ("shanghai", "beijing", "shenzhen", "lyon", "nancy", "rennes", "oslo", "dublin", "virginia", "oregon")
GPU_MODELS = (
    "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A10", "Tesla V100-SXM2-32GB",
    "Tesla T4", "NVIDIA L40S", "AMD Instinct MI250X",
)  # fmt: skip
VENDORS = (("Dell", "PowerEdge R750"), ("HPE", "ProLiant DL380"), ("Lenovo", "ThinkSystem SR670"), ("Inspur", "NF5488"))
ROLES = ("web", "db", "cache", "train", "infer", "build", "store", "proxy")
OWNERS = tuple(f"team-{name}" for name in ("atlas", "borealis", "cygnus", "draco", "eridanus", "fornax", "gemini"))

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Estate:
    """The number of objects; there are as many containers and services as servers."""

    servers: int = 100_000
    gpus: int = 400_000
    datacenters: int = 20
    assignments: int = 200_000

    def fill(self, database: Scratch) -> None:
        """Write the rows and have the database analyse them."""
        database.allow_unrecorded()
        with database.app.app_context():
            users = list(db.session.scalars(sa.select(User.id)))
            environments = list(db.session.scalars(sa.select(Environment.id)))
            for model, names, rows in (
                (Datacenter, ("name", "location"), self._datacenters()),
                (Server, SERVER, self._servers(environments)),
                (Container, CONTAINER, self._containers()),
                (Service, SERVICE, self._services()),
                (Gpu, GPU, self._gpus(users[0])),
                (Asset, ASSET, self._assets()),
            ):
                _write(model, names, rows)
            write_rows(GpuAssignment.__table__, ASSIGNMENT, self._assignments(users[0]))
            db.session.commit()
        database.analyze()

    def _datacenters(self) -> Iterator[Row]:
        for n in range(self.datacenters):
            yield f"{CITIES[n % len(CITIES)]}-{n + 1}", CITIES[n % len(CITIES)]

    def _servers(self, environments: Sequence[int]) -> Iterator[Row]:
        for n in range(self.servers):
            datacenter, rng = n % self.datacenters, random.Random(n)
            maker, model = VENDORS[rng.randrange(4)]
            role = ROLES[rng.randrange(8)]
            yield (
                f"{role}-{n:06}",
                f"{role}-{n:06}.{CITIES[datacenter % len(CITIES)]}.example.net",
                ServerType.PHYSICAL if n % 5 else ServerType.VIRTUAL,
                rng.choices(list(ServerStatus), (90, 5, 3, 2))[0],
                datacenter + 1,
                environments[n % len(environments)],
                f"R{n // 40:04}",
                n % 40,
                f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
                maker,
                model,
                f"SN{rng.getrandbits(40):010X}",
                f"AT-{n:07}",
                "Debian 12" if n % 3 else "Ubuntu 24.04",
                32 * (1 + n % 4),
                128 * (1 + n % 8),
                date(2026, 1, 1) + timedelta(days=n % 2000),
                OWNERS[rng.randrange(7)],
                ["prod", role] if n % 2 else [],
                {"qos": "LS" if n % 3 else "BE", "cost center": f"CC{n % 500}"},
            )

    def _containers(self) -> Iterator[Row]:
        for n in range(self.servers):
            yield (
                f"pod-{n:07}", n * 7 % self.servers + 1, f"registry.example.net/{ROLES[n % 8]}:{n % 90}",
                list(ContainerStatus)[n % 8], 1 + n % 16, [], {"qos": "BE"},
            )  # fmt: skip

    def _services(self) -> Iterator[Row]:
        kinds, states = list(ServiceType), list(ServiceStatus)
        for n in range(self.servers):
            yield (
                f"svc-{ROLES[n % 8]}-{n:06}",
                kinds[n % 8],
                n * 3 % self.servers + 1,
                1024 + n % 60_000,
                states[n % 4],
                {},
            )

    def _gpus(self, user: int) -> Iterator[Row]:
        per_server = -(-self.gpus // self.servers)
        for n in range(self.gpus):
            server, slot = n // per_server, n % per_server
            is_assigned = n % 3 == 0
            status = (
                GpuStatus.ASSIGNED if is_assigned else (GpuStatus.MAINTENANCE if n % 97 == 1 else GpuStatus.AVAILABLE)
            )
            rng = random.Random(n)
            uuid = f"GPU-{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-{n:012x}"
            yield (
                GPU_MODELS[server % 8], server + 1, slot, 81_920, uuid, f"{rng.getrandbits(44):013d}", status,
                user if is_assigned else None, START if is_assigned else None, {},
            )  # fmt: skip

    def _assignments(self, user: int) -> Iterator[Row]:
        """Every third GPU is assigned; the others were assigned once, for some hours."""
        assigned = range(0, self.gpus, 3)
        for n in assigned:
            yield n + 1, user, "admin", "admin", START, None
        for n in range(self.assignments):
            begin = START + timedelta(hours=n % 6000)
            yield n % self.gpus + 1, user, "admin", "admin", begin, begin + timedelta(hours=1 + n % 30)

    def _assets(self) -> Iterator[Row]:
        kinds, states = list(AssetType), list(AssetStatus)
        for n in range(self.servers // 5):
            yield (
                f"asset-{n:06}",
                kinds[n % 11],
                f"AS{n:08}",
                f"TAG-{n:07}",
                states[n % 5],
                n % self.datacenters + 1,
                {},
            )


SERVER = (
    "name", "hostname", "server_type", "status", "datacenter_id", "environment_id", "rack", "rack_unit", "internal_ip",
    "manufacturer", "model", "serial_number", "asset_tag", "os", "cpu_cores", "memory_gb", "warranty_expires", "owner",
    "tags", "attributes",
)  # fmt: skip
CONTAINER = ("name", "server_id", "image", "status", "cpu_limit", "port_mappings", "attributes")
SERVICE = ("name", "service_type", "server_id", "port", "status", "attributes")
GPU = (
    "model", "server_id", "slot", "memory_mb", "uuid", "serial_number", "status", "assigned_to_id", "assigned_at",
    "attributes",
)  # fmt: skip
ASSET = ("name", "asset_type", "serial_number", "asset_tag", "status", "datacenter_id", "attributes")
ASSIGNMENT = ("gpu_id", "user_id", "username", "assigned_by", "assigned_at", "released_at")


def _write(model: Any, names: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows of these columns with ids from one, scalar defaults, and the columns that every entity has."""
    table = model.__table__
    defaults = {
        column.key: column.default.arg if column.default.is_scalar else None
        for column in table.columns
        if column.default is not None and column.key not in names and not column.default.is_callable
    }
    fixed = {**defaults, "version": 1, "created_at": START, "updated_at": START}
    written = ((n, *fixed.values(), *row) for n, row in enumerate(rows, start=1))
    write_rows(table, ("id", *fixed, *names), written)
    # New rows are numbered after those that were written here.
    current_dialect().restoring.set_last_number(db.session.connection(), table, 0)
