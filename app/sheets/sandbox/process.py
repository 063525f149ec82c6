"""What the programs have in common: limits that the system enforces, refusals, and JSON lines as their output."""

import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

REFUSED = 3
"""The exit status after a last line `{"error": <slug>, …}`."""
# A parent reads line by line, so this bounds its memory.
LONGEST_LINE_BYTES = 16 << 20
# As many as Excel has, blank ones included: libraries accept a cell in row four billion, and yield all the rows above.
MOST_ROWS = 1 << 20

Options = Mapping[str, Any]
Row = list[Any]


class Refused(Exception):
    """A file beyond a limit: the slug, and the facts that a sentence about it needs."""

    def __init__(self, error: str, **facts: str | int) -> None:
        super().__init__(error)
        self.facts = {"error": error, **facts}


@dataclass(slots=True)
class Output:
    """JSON lines on their way to the parent: facts of a sheet, then its rows; of all of them, up to the limits."""

    file: BinaryIO
    bytes_left: int
    rows_left: int
    most_columns: int
    sheet: str = ""
    row: int = 0

    def begin(self, sheet: str, **facts: Any) -> None:
        self.sheet, self.row = sheet, 0
        self._print({"sheet": sheet, **facts})

    def write(self, row: Row) -> None:
        """Write the next row, or raise `Refused` when it is one too many, or too wide, or too long."""
        self.row += 1
        self.rows_left -= 1
        if self.rows_left < 0:
            raise Refused("too_many_rows")
        if len(row) > self.most_columns:
            raise Refused("too_many_columns", sheet=self.sheet, row=self.row)
        self._print(row)

    def _print(self, content: object) -> None:
        line = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
        self.bytes_left -= len(line)
        if self.bytes_left < 0 or len(line) > LONGEST_LINE_BYTES:
            raise Refused("too_large_unpacked")
        self.file.write(line)


def main(run: Callable[[Options, Output], None], options_json: str) -> int:
    """Carry out a program under the limits of its options, and return the exit status."""
    options: Options = orjson.loads(options_json)
    limit_process(options["memory_bytes"], options["cpu_seconds"])
    with open(sys.stdout.fileno(), "wb", buffering=1 << 20, closefd=False) as file:
        output = Output(file, options["output_bytes"], options["rows"], options["columns"])
        try:
            run(options, output)
        except Refused as refusal:
            file.write(orjson.dumps(refusal.facts))
            return REFUSED
        except MemoryError:
            file.write(b'{"error":"too_much_memory"}')
            return REFUSED
    return 0


def limit_process(memory_bytes: int, cpu_seconds: int) -> None:
    """Let the system end this process before it costs more than it may."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # At the second number the system sends SIGKILL, which does not tell the reason.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))


def without_blank_ends(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows without the empty cells at their ends, down to the last that has a value."""
    blank_rows = 0
    for row in rows:
        while row and row[-1] is None:
            row.pop()
        if row:
            yield from ([] for _ in range(blank_rows))
            yield row
            blank_rows = 0
        else:
            blank_rows += 1
