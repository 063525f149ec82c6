"""Running a program of the sandbox: a process with limits on memory and time, which may die of its file."""

import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.sheets.limits import Limits, damaged, of_program, too_much_memory, too_slow

_SANDBOX = Path(__file__).with_name("sandbox")
_REFUSED = 3
# Generous for an honest file: what a hostile one of a few bytes may cost.
_MEMORY_BYTES = 96 << 20
_CPU_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the sandbox, and what it may take besides for each byte of its unpacked file."""

    name: str
    memory_per_byte: int
    bytes_per_cpu_second: int


# The reader of workbooks keeps a sheet as a rectangle of cells, so that a few bytes that put a value into a far
# corner would otherwise cost all the memory there is.
SHEETS = Program("sandbox.sheets", memory_per_byte=16, bytes_per_cpu_second=4 << 20)
# openpyxl takes about twenty times the size of a sheet.
MARKS = Program("marking.marks", memory_per_byte=32, bytes_per_cpu_second=256 << 10)
TEXT = Program("sandbox.text", memory_per_byte=1, bytes_per_cpu_second=4 << 20)


def run_program(program: Program, options: Mapping[str, Any], file_bytes: int, limits: Limits, spool: Path) -> None:
    """Run it on a file of so many bytes, its output going into `spool`; raises UnreadableWorkbook."""
    bounded = {
        **options,
        "memory_bytes": min(limits.memory_bytes, _MEMORY_BYTES + file_bytes * program.memory_per_byte),
        "cpu_seconds": min(limits.seconds, _CPU_SECONDS + file_bytes // program.bytes_per_cpu_second),
        "output_bytes": limits.unpacked_bytes,
        "rows": limits.rows,
        "columns": limits.columns,
    }
    complaint = spool.with_name("complaint")
    with spool.open("wb") as output, complaint.open("wb") as errors:
        try:
            status = subprocess.run(  # noqa: S603 - our own program, without a shell
                [sys.executable, "-I", _SANDBOX, program.name, orjson.dumps(bounded)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                # The environment holds our keys, and a file may find a way to take the program over.
                env={},
                timeout=limits.seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise too_slow() from error
    if status == -signal.SIGXCPU:
        raise too_slow()
    if status in (-signal.SIGABRT, -signal.SIGKILL):
        raise too_much_memory()
    if status == _REFUSED:
        with spool.open("rb") as lines:
            (fact,) = deque(lines, maxlen=1)
        raise of_program(orjson.loads(fact), limits)
    if status:
        # For the log: whether it is the file, or a program that does not even start.
        raise damaged() from RuntimeError(complaint.read_text(errors="replace")[-2000:])
