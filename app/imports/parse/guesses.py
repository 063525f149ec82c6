"""What is lost when a cell is read, with a warning: by an inexact word, of an address, of a price."""

import math
import re
import unicodedata
from decimal import Decimal
from typing import Any, Self

from app.core.messages import tr
from app.core.values import as_json
from app.sheets.cells import Guess, Value, as_text, shown

_PREFIX = re.compile(r"/(\d{1,3})$")
_CURRENCY_SIGNS = frozenset("¥$€£元")


INEXACT = "inexact"
"""The rule of warnings about words that mean more, or less, than the value that they are read as."""


class InexactCell(str):
    """A cell after its text was replaced by one that means less; `original` is the cell as it stands in the file.

    Equal to itself only, so that no cache takes it for a cell with that text.
    """

    original: Value

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __new__(cls, meaning: str, original: Value) -> Self:
        cell = super().__new__(cls, meaning)
        cell.original = original
        return cell


def inexact_reading(cell: Value, value: Any) -> Guess:
    meaning = str(as_json(value))
    message = tr(
        "“{value}” is read as {meaning}, which does not say quite the same: set in the plan what it means, or keep the "
        "column as an attribute.",
        value=shown(cell),
        meaning=meaning,
    )
    return Guess(value, message, INEXACT, meaning)


def rounded_down(number: float) -> Guess:
    below = math.floor(number)
    return Guess(below, tr("{value} is read as {number}: the number is whole here.", value=number, number=below))


def split_prefix(address: str) -> tuple[str, str]:
    """An address, and the length of its prefix if it has one: inventories write 10.0.0.7/24."""
    # Most have none.
    prefix = _PREFIX.search(address) if "/" in address else None
    return (address[: prefix.start()], prefix[1]) if prefix else (address, "")


def without_prefix(cell: Value, address: str, prefix: str) -> str | Guess:
    """An address without the length of its prefix; that of a single host says nothing."""
    if prefix in ("", "128" if ":" in address else "32"):
        return address
    message = tr("The prefix length of “{value}” is left out: an address has none here.", value=shown(cell))
    return Guess(address, message, "prefix_length")


def without_currency(cell: Value, amount: Decimal) -> Decimal | Guess:
    """An amount, with a warning if its cell names a currency."""
    text = unicodedata.normalize("NFKC", as_text(cell)) if isinstance(cell, str) else ""
    sign = next((character for character in text if character in _CURRENCY_SIGNS), None)
    if sign is None:
        return amount
    message = tr("The currency of “{value}” is left out: prices are numbers without one.", value=shown(cell))
    return Guess(amount, message, "currency", sign)
