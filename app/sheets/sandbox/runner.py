"""Runs a program of the sandbox: a child process with limits, which a hostile file may make crash."""

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.sheets.limits import Limits, refusal

_CHILD = Path(__file__).with_name("process.py")
_REFUSED = 3
# More than an honest file needs; bounds what a hostile file of a few bytes can cost.
_MEMORY_BYTES = 96 << 20
_CPU_SECONDS = 2
_POLL_SECONDS = 0.2
_CHUNK_BYTES = 1 << 20

Watch = Callable[[int], None]
"""Called from time to time with the number of rows that a program has written; what it raises ends the program."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the sandbox, and the memory and time it may take in addition per byte of the unpacked file."""

    module: str
    memory_per_byte: int
    bytes_per_cpu_second: int


# calamine keeps a sheet as a rectangle of cells: a small file with a value in a far corner could take all memory.
WORKBOOK = Program("sandbox.workbook_program", memory_per_byte=16, bytes_per_cpu_second=4 << 20)
TEXT = Program("sandbox.text_program", memory_per_byte=1, bytes_per_cpu_second=4 << 20)
# Measured: 20,000 rows of 15 cells, each cell marked, took 860 MB and 7 s for 12 MB of workbook and 19 MB of marks.
MARKS = Program("marking.program", memory_per_byte=32, bytes_per_cpu_second=1 << 20)


def run_program(
    program: Program,
    options: Mapping[str, Any],
    file_bytes: int,
    limits: Limits,
    output: Path,
    *,
    watch: Watch | None = None,
) -> None:
    """Run a program on a file of `file_bytes`, its standard output going to a file; raises UnreadableWorkbook."""
    bounded = {
        **options,
        "memory_bytes": min(limits.memory_bytes, _MEMORY_BYTES + file_bytes * program.memory_per_byte),
        "cpu_seconds": min(limits.seconds, _CPU_SECONDS + file_bytes // program.bytes_per_cpu_second),
        "output_bytes": limits.unpacked_bytes,
        "rows": limits.rows,
        "columns": limits.columns,
    }
    errors = output.with_name("errors")
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own program, without a shell
            [sys.executable, "-I", _CHILD, program.module, orjson.dumps(bounded)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # The environment holds our keys, and a file may exploit the program.
            env={},
        )
        with process:
            try:
                status = _wait(process, output, limits.seconds, watch)
            except BaseException:
                process.kill()
                raise
    if status == -signal.SIGXCPU:
        raise refusal("too_slow")
    if status in (-signal.SIGABRT, -signal.SIGKILL):
        raise refusal("too_much_memory")
    if status == _REFUSED:
        with output.open("rb") as lines:
            (fact,) = deque(lines, maxlen=1)
        raise refusal(**orjson.loads(fact), limits=limits)
    if status:
        # The log shows whether the file is damaged or the program does not even start.
        raise refusal("damaged") from RuntimeError(errors.read_text(errors="replace")[-2000:])


def _wait(process: "subprocess.Popen[bytes]", output: Path, seconds: float, watch: Watch | None) -> int:
    """Wait for the end of a program and return its status; raises UnreadableWorkbook where it takes too long."""
    end = time.monotonic() + seconds
    counted_bytes = rows = 0
    last_byte = b""
    while True:
        try:
            return process.wait(_POLL_SECONDS if watch else seconds)
        except subprocess.TimeoutExpired as error:
            if time.monotonic() >= end:
                raise refusal("too_slow") from error
        if watch:
            with output.open("rb") as lines:
                lines.seek(counted_bytes)
                while chunk := lines.read(_CHUNK_BYTES):
                    counted_bytes += len(chunk)
                    # The lines of sheets end in a brace.
                    rows += chunk.count(b"]\n") + (last_byte + chunk[:1] == b"]\n")
                    last_byte = chunk[-1:]
            watch(rows)
