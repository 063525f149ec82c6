"""A generated GPU cluster as a workbook: the shape of a published trace, with columns that match no field."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xlsxwriter

Row = Sequence[str | float | None]

SERVER_TITLES = (
    "Name", "Datacenter", "Environment", "IP Address", "Rack", "U", "OS", "CPU Model", "CPU Cores",
    "Memory (GB)", "Serial Number", "Owner", "GPU Count", "GPU Model", "Status",
)  # fmt: skip
GPU_TITLES = ("Server", "Index", "Model", "Memory (GB)", "Status")
CONTAINER_TITLES = (
    "Name", "Server", "Image", "CPU Limit (cores)", "Memory Limit (MiB)", "GPU Count", "GPU Share (milli)",
    "QoS", "Status", "Created (s)", "Scheduled (s)", "Deleted (s)",
)  # fmt: skip
GPU_MODELS = ("G2", "T4", "P100", "V100M16", "A10")
PHASES = ("Running", "Succeeded", "Failed", "Pending")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The number of objects, in one datacenter."""

    servers: int = 1_500
    gpus: int = 6_000
    containers: int = 8_000
    wrong_every: int = 0
    """One of this many servers has a text instead of its number of cores; 0: none."""

    def write(self, path: Path) -> None:
        """Write the workbook, one sheet per resource."""
        with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
            for title, header, rows in (
                ("Datacenters", ("Name", "Description"), [("north", "One hall, four rows of racks")]),
                ("Servers", SERVER_TITLES, self._servers()),
                ("GPUs", GPU_TITLES, self._gpus()),
                ("Containers", CONTAINER_TITLES, self._containers()),
            ):
                sheet = book.add_worksheet(title)
                for number, row in enumerate((header, *rows)):
                    sheet.write_row(number, 0, row)

    def _servers(self) -> Iterator[Row]:
        for n in range(self.servers):
            address = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
            model = GPU_MODELS[n % 5]
            cores = "many" if self.wrong_every and n % self.wrong_every == 0 else 32 * (1 + n % 4)
            yield (
                f"node-{n:06}", "north", "production", address, f"R{n // 40:04}", n % 40, "Debian 12",
                "Xeon 8269", cores, 128.5 * (1 + n % 8), f"SN{n:08}", f"team-{n % 20}",
                n % 9, model, "active" if n % 50 else "maintenance",
            )  # fmt: skip

    def _gpus(self) -> Iterator[Row]:
        for n in range(self.gpus):
            server = n % self.servers
            yield (
                f"node-{server:06}",
                n // self.servers,
                GPU_MODELS[server % 5],
                16 if n % 5 else None,
                None,
            )

    def _containers(self) -> Iterator[Row]:
        for n in range(self.containers):
            share = (1000, 460, 200, None)[n % 4]
            began = 427_061.0 + 31 * n
            yield (
                f"pod-{n:06}", f"node-{n % self.servers:06}" if n % 3 else None, None, 4 + n % 12,
                1024 * (1 + n % 32), 1 if share else 0, share, ("LS", "BE", "Burstable")[n % 3],
                PHASES[n % 4], began, began + n % 60, began + 12_000 if n % 4 else None,
            )  # fmt: skip
