"""Why a file is not read: the limits of what is, and a sentence for each way to be beyond them."""

from dataclasses import dataclass
from typing import Any


class UnreadableWorkbook(Exception):
    """A file that is refused: `reason` is a slug, the text one sentence for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """What a workbook may be, and what reading it may cost.

    `unpacked_bytes` bounds the package without its compression and, again, its rows as text.
    `rows` are those of all sheets together, each counted down to its last row with a value;
    `columns` is the number of the rightmost column with a value. `memory_bytes` and `seconds` bound
    the process that reads, which is given less when the workbook is small.
    """

    unpacked_bytes: int = 512 << 20
    sheets: int = 100
    rows: int = 250_000
    columns: int = 512
    memory_bytes: int = 1 << 30
    seconds: int = 60


def damaged() -> UnreadableWorkbook:
    """Say that the file does not hold together, or not what a workbook holds."""
    return UnreadableWorkbook("damaged", "The workbook is damaged.")


def too_large() -> UnreadableWorkbook:
    """Say that the parts, or the rows written out, take more space than allowed."""
    return UnreadableWorkbook("too_large_unpacked", "The workbook is too large once it is unpacked.")


def too_many_rows(limits: Limits) -> UnreadableWorkbook:
    """Say that the rows of all sheets, blank ones between them included, are too many."""
    return UnreadableWorkbook("too_many_rows", f"The file has more than {limits.rows:,} rows, the most that is read.")


def too_many_columns(limits: Limits, place: str) -> UnreadableWorkbook:
    """Say that there is a value too far to the right, and in which cell or row."""
    return UnreadableWorkbook(
        "too_many_columns",
        f"{place} has a value beyond the first {limits.columns:,} columns, the most that is read.",
    )


def too_much_memory() -> UnreadableWorkbook:
    """Say that the process that read the file had no memory left."""
    return UnreadableWorkbook(
        "too_large_unpacked",
        "The file takes too much memory to read: look for values far away from all the others.",
    )


def too_slow() -> UnreadableWorkbook:
    """Say that the process that read the file had no time left."""
    return UnreadableWorkbook("too_slow", "The file takes too long to read.")


def not_text(what: str) -> UnreadableWorkbook:
    """Say what a file holds that is called like delimited text."""
    return UnreadableWorkbook("not_csv", f"The file is called like comma-separated text, but it {what}.")


def of_program(fact: dict[str, Any], limits: Limits) -> UnreadableWorkbook:
    """The refusal by a program of the sandbox, given the last line that it printed."""
    match fact["error"]:
        case "too_many_sheets":
            return UnreadableWorkbook(
                "too_many_sheets",
                f"The workbook has {fact['sheets']:,} sheets, and {limits.sheets:,} is the most that is read.",
            )
        case "too_many_rows":
            return too_many_rows(limits)
        case "too_many_columns":
            return too_many_columns(limits, f"Row {fact['row']:,} of sheet {fact['sheet']:.40}")
        case "repeated_sheet":
            return UnreadableWorkbook("unsafe", "The workbook has two sheets with the same content.")
        case "too_much_memory":
            return too_much_memory()
        case "not_text":
            return not_text("holds bytes that no text has")
        case "damaged_text":
            return UnreadableWorkbook("damaged", f"The text is {fact['encoding']}, but some of its bytes are not.")
        case "bad_quotes":
            return UnreadableWorkbook(
                "damaged",
                f"A quotation mark before the end of line {fact['line']:,} is not closed or stands in the wrong place.",
            )
        case "too_long_line":
            return UnreadableWorkbook("too_long_line", "The file has a line of more than four million characters.")
        case _:
            return too_large()
