"""The program that marks a workbook: bad cells with a fill and a comment, every row with what becomes of it.

Reads `marks`, JSON lines: `{"sheet", "header_row", "status_column"}`, then `{"row", "status", "marks": [[<column>,
<kind>, <text>], …]}` for each of its rows, columns counted from 0 and null where the row as a whole is meant (or where
no column has the statuses yet). Saves to `target`. The parts are edited where they stand, so that all else stays as it
is to the byte; a workbook in which that cannot be done is read and written anew, if it is small enough.
"""

from pathlib import Path

import orjson

from app.sheets.marking import edited, rewritten
from app.sheets.marking.facts import SheetMarks
from app.sheets.marking.splice import NotEditable
from app.sheets.sandbox.process import Options, Output, Refused


def run(options: Options, _output: Output) -> None:
    """Mark the workbook at `path`; its macros are left behind."""
    sheets = read_marks(Path(options["marks"]))
    try:
        edited.mark(options["path"], options["target"], sheets)
    except NotEditable:
        if options["unpacked_bytes"] > options["rewritten_bytes"]:
            raise Refused("not_editable") from None
        rewritten.mark(options["path"], options["target"], sheets)


def read_marks(path: Path) -> list[SheetMarks]:
    sheets: list[SheetMarks] = []
    with path.open("rb") as lines:
        for line in lines:
            fact = orjson.loads(line)
            if "sheet" in fact:
                sheets.append(SheetMarks(fact["sheet"], fact["header_row"], fact["status_column"]))
            else:
                sheets[-1].add(fact["row"], fact["status"], fact["marks"])
    return sheets
