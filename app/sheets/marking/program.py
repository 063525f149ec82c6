"""The sandboxed program that marks a workbook: `path` and `marks` in, `target` out."""

from pathlib import Path

from app.sheets.marking.marks import load_marks
from app.sheets.marking.package_editor import mark
from app.sheets.marking.xml_edits import NotEditable
from app.sheets.sandbox.process import Options, Output, RefusedFile


def run(options: Options, _output: Output) -> None:
    """Mark the workbook; refuses what is not editable."""
    try:
        mark(options["path"], options["target"], load_marks(Path(options["marks"])))
    except NotEditable as error:
        raise RefusedFile("not_editable", message=str(error)) from None
