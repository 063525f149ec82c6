"""The child process of the sandbox: resource limits, refusals, and rows as JSON lines on standard output.

Started as `python -I <this file> <module below app.sheets> <options as JSON>`.
"""

import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import orjson

REFUSED = 3
"""The exit status after a last line `{"error": <slug>, …}`."""
# The parent reads line by line: bounds its memory.
LONGEST_LINE_BYTES = 16 << 20
# Rows of a sheet in Excel, blank ones included: calamine accepts a cell in row four billion and yields all rows above.
MAX_ROWS = 1 << 20

Options = Mapping[str, Any]
Row = list[Any]


class RefusedFile(Exception):
    """A refused file: the slug, and the facts for a sentence about it."""

    def __init__(self, error: str, **facts: Any) -> None:
        super().__init__(error)
        self.facts = {"error": error, **facts}


@dataclass(slots=True)
class Output:
    """Writes the facts of each sheet and its rows as JSON lines, up to the limits."""

    file: BinaryIO
    bytes_left: int
    rows_left: int
    max_columns: int
    sheet: str = ""
    row: int = 0

    def begin(self, sheet: str, **facts: Any) -> None:
        self.sheet, self.row = sheet, 0
        self._print({"sheet": sheet, **facts})

    def write(self, row: Row) -> None:
        """Write the next row; raises RefusedFile if it is beyond the number of rows, columns or bytes."""
        self.row += 1
        self.rows_left -= 1
        if self.rows_left < 0:
            raise RefusedFile("too_many_rows")
        if len(row) > self.max_columns:
            raise RefusedFile("too_many_columns", row=self.row, sheet=self.sheet[:40])
        self._print(row)

    def _print(self, content: object) -> None:
        line = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
        self.bytes_left -= len(line)
        if self.bytes_left < 0 or len(line) > LONGEST_LINE_BYTES:
            raise RefusedFile("too_large")
        self.file.write(line)


def main(run: Callable[[Options, Output], None], options_json: str) -> int:
    """Run a program under the limits in its options; returns the exit status."""
    options: Options = orjson.loads(options_json)
    limit_process(options["memory_bytes"], options["cpu_seconds"])
    with open(sys.stdout.fileno(), "wb", buffering=1 << 20, closefd=False) as file:
        output = Output(file, options["output_bytes"], options["rows"], options["columns"])
        try:
            run(options, output)
        except RefusedFile as refusal:
            file.write(orjson.dumps(refusal.facts))
            return REFUSED
        except MemoryError:
            file.write(b'{"error":"too_much_memory"}')
            return REFUSED
    return 0


def limit_process(memory_bytes: int, cpu_seconds: int) -> None:
    """Have the kernel end this process at its limits."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # At the soft limit the kernel sends SIGXCPU, which names the reason; at the hard limit SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))


def without_blank_ends(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows without empty cells at their ends and without empty rows at the end."""
    return without_blank_rows(map(_without_blank_end, rows))


def _without_blank_end(row: Row) -> Row:
    while row and row[-1] is None:
        row.pop()
    return row


def without_blank_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows without empty rows at the end; a row of empty cells is an empty row."""
    blank_rows = 0
    for row in rows:
        if row and (row[-1] is not None or any(cell is not None for cell in row)):
            yield from ([] for _ in range(blank_rows))
            yield row
            blank_rows = 0
        else:
            blank_rows += 1


def stand_in_for_packages() -> None:
    """Let modules below app.sheets be imported without app/__init__.py, which would take half a second."""
    sheets = Path(__file__).parents[1]
    for name, path in (("app", sheets.parent), ("app.sheets", sheets)):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


if __name__ == "__main__":
    stand_in_for_packages()
    program = import_module(f"app.sheets.{sys.argv[1]}")
    # A program raises this module's RefusedFile by its full name; here it is another class, of the module __main__.
    process = import_module("app.sheets.sandbox.process")
    sys.exit(process.main(program.run, sys.argv[2]))
