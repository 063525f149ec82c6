"""Mark a workbook in place: the caller's side of the sandboxed program."""

from collections.abc import Iterable
from pathlib import Path

from app.sheets.limits import Limits, refusal
from app.sheets.marking.marks import SheetMarks, save_marks
from app.sheets.package import check_package
from app.sheets.sandbox.runner import MARKS, run_program

MAX_MARKED_BYTES = 96 << 20
"""Unpacked size of the largest workbook that is marked: editing keeps a whole sheet in memory."""


def mark_in_place(original: bytes, target: Path, sheets: Iterable[SheetMarks]) -> None:
    """Write the workbook with its marks to `target`, using its directory for temporary files.

    Raises UnreadableWorkbook if it is not editable, too large, or takes too long.
    """
    path, marks = target.with_name("original"), target.with_name("marks")
    path.write_bytes(original)
    limits = Limits()
    with path.open("rb") as file:
        unpacked_bytes = check_package(file, limits).unpacked_bytes
    if unpacked_bytes > MAX_MARKED_BYTES:
        raise refusal("too_large")
    save_marks(marks, sheets)
    options = {"path": str(path), "marks": str(marks), "target": str(target)}
    run_program(MARKS, options, unpacked_bytes + marks.stat().st_size, limits, target.with_name("output"))
