"""Values that are probably not what was meant: numbers of another unit, and numbers that a spreadsheet has rounded."""

import re
from typing import Any

from app.core.messages import Message, tr
from app.core.values import whole
from app.resource import Field
from app.sheets.cells import Value

FEWEST_ROUNDED = 10**15
"""The smallest whole number with more than the 15 digits that Excel keeps."""

_SHORTENED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d{2,3}")
_UNITS = ("KB", "MB", "GB", "TB")


def describe_proportion(field: Field, number: float) -> Message | None:
    """A warning about a number beyond what is usual for its field; zero stands for none or no limit."""
    if field.usual is None or not number:
        return None
    lowest, highest = field.usual
    if lowest <= number <= highest:
        return None
    unit = _other_unit(field.unit, step=1 if number < lowest else -1)
    facts: dict[str, Any] = {"number": whole(number), "unit": field.unit or "", "field": field.heading}
    if unit and number < lowest:
        return tr(
            "{number:,} {unit} is very little for {field}: did you mean {meant}? Then write the unit into the title or "
            "the cell.",
            **facts,
            meant=unit,
        )
    if unit:
        return tr(
            "{number:,} {unit} is very much for {field}: did you mean {meant}? Then write the unit into the title or "
            "the cell.",
            **facts,
            meant=unit,
        )
    if number < lowest:
        return tr("{number:,} {unit} is very little for {field}: check the number.", **facts)
    return tr("{number:,} {unit} is very much for {field}: check the number.", **facts)


def _other_unit(unit: str | None, step: int) -> str | None:
    """The next larger unit or the next smaller one."""
    if unit == "cores":
        return "milli" if step < 0 else None
    return _UNITS[_UNITS.index(unit) + step] if unit in _UNITS else None


def describe_digits(value: Value) -> Message | None:
    """A warning about a number that stands for a text, such as a serial number, and has probably lost digits."""
    if isinstance(value, str):
        if "+" not in value or not _SHORTENED.fullmatch(value):
            return None
        return tr(
            "A spreadsheet has shortened a number to {value}: format the column as text and enter it again.",
            value=value,
        )
    if value is None or -FEWEST_ROUNDED < value < FEWEST_ROUNDED:
        return None
    return tr("Spreadsheets keep 15 digits of a number, so the last ones may be wrong: format the column as text.")
