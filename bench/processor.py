"""Processor time and memory of processes, and of threads, from /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """What some processes or threads have used since this was made, by their folders in /proc."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._ticks = {folder: ticks_of(folder) for folder in folders}

    @classmethod
    def of(cls, pid: int) -> "Processes":
        """A process with all those under it."""
        return cls(Path(f"/proc/{one}") for one in descendants(pid))

    def seconds(self) -> float:
        """User and system time."""
        return sum(ticks_of(folder) - ticks for folder, ticks in self._ticks.items() if folder.exists()) / TICKS


def ticks_of(folder: Path) -> int:
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def descendants(pid: int) -> list[int]:
    """A process and all those under it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(one for child in children for one in descendants(child))]


def megabytes_of_workers(pid: int) -> list[float]:
    """The memory of the processes that a server has started, those with the most first.

    Of what several processes share, each has its part (PSS): together they have no more than the machine gives them.
    """
    sizes = []
    for one in descendants(pid)[1:]:
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")]
    return sorted(sizes, reverse=True)
