"""What is said about a cell that cannot be read: its value as it stands, what is wrong with it, and what to do."""

from collections.abc import Iterable
from typing import Any

from app.core.messages import Message, tr
from app.core.values import whole
from app.resource import Field
from app.sheets.cells import Value, shown


def not_cleared(field: Field) -> Message:
    return tr(
        "{field} cannot be cleared: write a value, or empty the cell to keep the stored one.", field=field.heading
    )


def not_whole(value: Value) -> Message:
    return tr("“{value}” is not a whole number: write one without decimals.", value=shown(value))


def no_boolean(value: Value) -> Message:
    return tr("“{value}” is neither yes nor no: write one of them.", value=shown(value))


def no_date(value: Value) -> Message:
    return tr("“{value}” is not a date: write year, month and day, such as 2027-10-24.", value=shown(value))


def no_time(value: Value) -> Message:
    return tr("“{value}” is not a time: write it such as 2027-10-24T08:00:00Z.", value=shown(value))


def no_choice(value: Value, choices: Iterable[str]) -> Message:
    return tr(
        "“{value}” is not one of {choices}: write one of these, or set in the plan which one is meant.",
        value=shown(value),
        choices=", ".join(choices),
    )


def no_json(value: Value) -> Message:
    return tr("“{value}” is not JSON as an export writes it: correct it, or empty the cell.", value=shown(value))


def too_long(text: str, most: int) -> Message:
    return tr("The text has {count:,} characters, and {max:,} is the most: shorten it.", count=len(text), max=most)


def refused(value: Value, problem: str) -> Message:
    return tr("“{value}”: {problem}", value=shown(value), problem=problem)


def out_of_range(value: Value, field: Field) -> Message:
    assert field.minimum is not None
    assert field.maximum is not None
    facts: dict[str, Any] = {"value": shown(value), "min": whole(field.minimum), "max": whole(field.maximum)}
    if field.unit:
        return tr("“{value}” is out of range: write a number from {min} to {max} {unit}.", **facts, unit=field.unit)
    return tr("“{value}” is out of range: write a number from {min} to {max}.", **facts)
