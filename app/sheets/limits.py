"""Limits of uploaded files, and the refusals of files that are beyond them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.core.messages import Message, tr


class UnreadableWorkbook(Exception):
    """A refused file: `reason` is a slug, the text one sentence for a person, `facts` are for a program."""

    def __init__(self, reason: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.reason, self.facts = reason, facts


@dataclass(frozen=True)
class Limits:
    """The largest workbook that is read, and what reading may cost.

    `unpacked_bytes` limits the unpacked package and, again, its rows as text. `rows` are those of all sheets, each
    counted down to its last row with a value; `columns` is the number of the rightmost column with a value.
    `memory_bytes` and `seconds` limit the process that reads; a small workbook gets less.
    """

    unpacked_bytes: int = 512 << 20
    sheets: int = 100
    rows: int = 250_000
    columns: int = 512
    memory_bytes: int = 1 << 30
    seconds: int = 60


_REFUSALS: Mapping[str, tuple[str, Message]] = {
    "damaged": ("damaged", tr("The workbook is damaged: open it in a spreadsheet program and save it again.")),
    "too_large": ("too_large_unpacked", tr("The workbook is too large once it is unpacked.")),
    "too_much_memory": (
        "too_large_unpacked",
        tr("The file takes too much memory to read: look for values far away from all the others."),
    ),
    "too_slow": ("too_slow", tr("The file takes too long to read.")),
    "too_many_sheets": (
        "too_many_sheets",
        tr("The workbook has {sheets:,} sheets, and {max_sheets:,} is the most that is read."),
    ),
    "too_many_rows": ("too_many_rows", tr("The file has more than {max_rows:,} rows, the most that is read.")),
    "too_many_columns": (
        "too_many_columns",
        tr("{place} has a value beyond the first {max_columns:,} columns, the most that is read."),
    ),
    "repeated_sheet": ("unsafe", tr("The workbook has two sheets with the same content.")),
    "not_text": ("not_csv", tr("The file is named like comma-separated text, but it {content}.")),
    "ambiguous_encoding": (
        "ambiguous_encoding",
        tr("The text may be {encodings}: compare how each reads it, and name the right one as `encoding`."),
    ),
    "damaged_text": ("damaged", tr("The text is {encoding}, but some of its bytes are not.")),
    "bad_quotes": (
        "damaged",
        tr("A quotation mark before the end of line {line:,} is not closed or stands in the wrong place."),
    ),
    "too_long_line": ("too_long_line", tr("The file has a line of more than four million characters.")),
    "not_editable": ("not_editable", tr("{message}")),
    "old_excel": ("old_excel", tr("The file is in an old Office format such as .xls: save it as .xlsx.")),
    "not_a_workbook": (
        "not_a_workbook",
        tr("The file is no Excel workbook (.xlsx or .xlsm) and no delimited text: save it as one of them."),
    ),
    "encrypted": ("encrypted", tr("The workbook is protected with a password: remove it and try again.")),
    "unsafe": ("unsafe", tr("{message}")),
}
"""Reason and message by the slug of the limit, which the programs of the sandbox report too."""
REASONS = frozenset(reason for reason, _ in _REFUSALS.values())


def refusal(error: str, limits: Limits | None = None, **facts: Any) -> UnreadableWorkbook:
    """The refusal of a file by its slug; `facts` and limits are named in the message."""
    reason, message = _REFUSALS[error]
    if "row" in facts:
        facts["place"] = tr("Row {row:,} of sheet {sheet}", row=facts["row"], sheet=facts["sheet"])
    most = {f"max_{name}": value for name, value in asdict(limits or Limits()).items()}
    named = {name: value for name, value in {**facts, **most}.items() if f"{{{name}" in message.template}
    others = {"candidates": facts["candidates"]} if "candidates" in facts else {}
    return UnreadableWorkbook(reason, Message(message.template, parameters=named), **others)
