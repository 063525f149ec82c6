"""Processor time and memory of processes, from /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

import psycopg

TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """What some processes have used since this was made."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._ticks = {pid: ticks_of(pid) for pid in pids}

    @classmethod
    def of(cls, pid: int) -> "Processes":
        """A process with all those under it."""
        return cls(descendants(pid))

    def seconds(self) -> float:
        """User and system time."""
        return sum(ticks_of(pid) - ticks for pid, ticks in self._ticks.items() if is_alive(pid)) / TICKS


def ticks_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


def descendants(pid: int) -> list[int]:
    """A process and all those under it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(one for child in children for one in descendants(child))]


def backends_of(connection: psycopg.Connection) -> list[int]:
    """The processes of PostgreSQL, on this machine, that serve other connections to the same database."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND pid <> pg_backend_pid()"
    )
    return [pid for (pid,) in connection.execute(query) if is_alive(pid)]


def megabytes_of_workers(pid: int) -> list[float]:
    """The resident memory of the processes that a server has started, those with the most first."""
    sizes = []
    for one in descendants(pid)[1:]:
        lines = Path(f"/proc/{one}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]
    return sorted(sizes, reverse=True)
