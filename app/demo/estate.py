"""The sample estate as the sheets of a workbook: two sites, their servers, what runs on them, and office assets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

from app.sheets.writers import OutputColumn, OutputSheet, write_workbook

Row = dict[str, Any]

_SITES = (("Shanghai 1", "SH-1", "上海"), ("Frankfurt 2", "FR-2", "Frankfurt am Main"))
_ENVIRONMENTS = ("production", "staging")
_NODES_OF_SITE = 12
_GPU_NODES_OF_SITE = 4
_GPUS_OF_NODE = 8
_MODELS = ("H100", "A100")
_IMAGES = ("registry.example/train:2.4", "registry.example/serve:1.9", "postgres:17", "redis:7")
_TEAMS = ("research", "platform", "web")
_LAPTOPS = 12


def write_estate(path: Path, today: date) -> None:
    """Write the workbook; warranties and due dates lie around `today`."""
    servers = list(_servers(today))
    sheets: dict[str, Iterable[Row]] = {
        "Datacenters": ({"Name": name, "Code": code, "Location": place} for name, code, place in _SITES),
        # Those of a new installation, which stay as they are.
        "Environments": ({"Name": name} for name in _ENVIRONMENTS),
        "Servers": servers,
        "Containers": _containers(servers),
        "Services": _services(servers),
        "GPUs": _gpus(servers),
        "Assets": _assets(today),
        "Tasks": _tasks(today),
    }
    write_workbook(path, [_sheet(title, list(rows)) for title, rows in sheets.items()])


def _sheet(title: str, rows: Sequence[Row]) -> OutputSheet:
    return OutputSheet(title, [OutputColumn(name, _reader(name)) for name in rows[0]], rows)


def _reader(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return itemgetter(name)


def _servers(today: date) -> Iterable[Row]:
    for site, (datacenter, code, _) in enumerate(_SITES, 1):
        for number in range(1, _NODES_OF_SITE + 1):
            is_gpu = number <= _GPU_NODES_OF_SITE
            yield {
                "Name": f"{'gpu' if is_gpu else 'node'}-{code.lower()}-{number:02}",
                "Datacenter": datacenter,
                "Environment": _ENVIRONMENTS[number % 4 == 0],
                "Status": "maintenance" if number == _NODES_OF_SITE else "active",
                "Rack": f"R{(number + 3) // 4}",
                "Rack unit": 2 + 4 * ((number - 1) % 4),
                "Internal IP": f"10.{20 + site}.0.{10 + number}",
                "Manufacturer": "Supermicro" if is_gpu else "Dell",
                "Model": "SYS-821GE" if is_gpu else "PowerEdge R760",
                "Serial number": f"SAMPLE-{code}-{number:04}",
                "CPU cores": 128 if is_gpu else 64,
                "Memory (GB)": 2048 if is_gpu else 512,
                "Owner": _TEAMS[number % len(_TEAMS)],
                "Warranty expires": today + timedelta(days=45 * number - 30),
                "Tags": "gpu, sample" if is_gpu else "sample",
            }


def _containers(servers: Sequence[Row]) -> Iterable[Row]:
    for number, server in enumerate(servers):
        for place in range(2):
            yield {
                "Name": f"app-{number * 2 + place + 1:02}",
                "Server": server["Name"],
                "Image": _IMAGES[(number + place) % len(_IMAGES)],
                "Status": "running" if (number + place) % 7 else "stopped",
                "CPU limit (cores)": 4 * (1 + place),
                "Memory limit (MB)": 8192 * (1 + place),
            }


def _services(servers: Sequence[Row]) -> Iterable[Row]:
    for server in servers:
        yield {
            "Name": "node-exporter",
            "Server": server["Name"],
            "Type": "monitoring",
            "Port": 9100,
            "Protocol": "http",
        }


def _gpus(servers: Sequence[Row]) -> Iterable[Row]:
    nodes = [server["Name"] for server in servers if server["Name"].startswith("gpu")]
    for number, node in enumerate(nodes):
        for slot in range(_GPUS_OF_NODE):
            is_out = number == len(nodes) - 1 and slot == 0
            yield {
                "Server": node,
                "Slot": slot,
                "Model": _MODELS[number % len(_MODELS)],
                "Memory (GB)": 80,
                "UUID": f"GPU-5a3b1e00-0000-4000-8000-{number:04}{slot:08}",
                "Status": "maintenance" if is_out else "available",
            }


def _assets(today: date) -> Iterable[Row]:
    for number in range(1, _LAPTOPS + 1):
        is_used = number % 4 != 0
        yield {
            "Name": "ThinkPad X1" if number % 2 else "Dell P2725H",
            "Type": "laptop" if number % 2 else "monitor",
            "Asset tag": f"SAMPLE-{number:04}",
            "Status": "in_use" if is_used else "in_stock",
            "Assigned to": f"{_TEAMS[number % len(_TEAMS)]} team" if is_used else None,
            "Purchase date": today - timedelta(days=60 * number),
            "Warranty expires": today + timedelta(days=60 * number - 90),
        }


def _tasks(today: date) -> Iterable[Row]:
    yield {"Title": "Replace the fan of node-sh-1-12", "Due date": today + timedelta(days=3)}
    yield {"Title": "Renew the warranties that end this quarter", "Due date": today + timedelta(days=21)}
