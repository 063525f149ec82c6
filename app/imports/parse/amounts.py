"""From a cell to a number or an amount of money: digits as text, units, thousands separators, currencies."""

import re
import unicodedata
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from marshmallow import ValidationError

from app.core.db.column_types import CENT
from app.core.values import whole
from app.imports.map.titles import factor
from app.imports.parse.cell_text import CellError, as_text
from app.resource.fields import Field, Kind
from app.resource.json_fields import marshmallow_field
from app.sheets.workbook import Value

_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[+-]?\.\d+)\s*([^\d\s.,]*)")
_SEPARATED = re.compile(r"[+-]?\d[\d.,]*[.,][\d.,]*")


def with_point(text: str) -> str:
    """A text of a country with decimal commas, its numbers as the others write them: `1.234,5 GB` is `1234.5 GB`.

    Raises CellError where a number may be meant in both ways, as 65.536 may.
    """
    return _SEPARATED.sub(lambda found: _plain(found[0]), text, count=1)


def _plain(number: str) -> str:
    mark = max(".", ",", key=number.rfind)
    other = "," if mark == "." else "."
    whole_part, _, rest = number.rpartition(mark)
    if mark in whole_part:
        return number.replace(mark, "")
    digits = whole_part.lstrip("+-")
    if other not in digits and len(rest) == 3 and len(digits) <= 3 and digits != "0":
        raise CellError("number", "It may be read in two ways: write it without a separator.")
    return f"{whole_part.replace(other, '')}.{rest}"


def number_reader(field: Field, scale: float) -> Callable[[Value], float]:
    """A function to a field's number; a bare one is multiplied by `scale`."""
    integral = field.kind is Kind.INTEGER
    lowest, highest = field.minimum, field.maximum
    assert lowest is not None
    assert highest is not None

    def read(value: Value) -> float:
        number = _number(value, field, scale)
        if integral:
            # A size in another unit seldom comes out even; a count must.
            if field.unit in ("GB", "MB"):
                number = round(number)
            elif number != int(number):
                raise CellError("integer", "Must be a whole number.")
        if not lowest <= number <= highest:
            raise CellError("range", f"Must be between {whole(lowest)} and {whole(highest)}.")
        return int(number) if integral else whole(round(number, 3))

    return read


def _number(value: Value, field: Field, scale: float) -> float:
    if isinstance(value, bool):
        raise CellError("number", "Must be a number.")
    if isinstance(value, int | float):
        return value * scale
    text = unicodedata.normalize("NFKC", str(value)).strip()
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise CellError("number", "Must be a number.")
    number = float(found[1].replace(",", ""))
    if not found[2]:
        return number * scale
    into = factor(found[2], field.unit)
    if into is None:
        raise CellError("unit", f"{found[2]} is no unit of {field.title}." if field.unit else "Must be a number.")
    return number * into


def money_reader(field: Field) -> Callable[[Value], Decimal]:
    """A function to a field's amount, whatever currency stands beside it."""
    parse = marshmallow_field(field)

    def read(value: Value) -> Decimal:
        if isinstance(value, int | float) and not isinstance(value, bool):
            # A cell holds a binary fraction: 0.1 + 0.2 must be 0.30.
            value = str(Decimal(repr(value)).quantize(CENT, ROUND_HALF_UP))
        text = re.sub(r"^[¥$€£]|[¥$€£元]$|,(?=\d{3})", "", unicodedata.normalize("NFKC", as_text(value))).strip()
        try:
            found: Decimal = parse.deserialize(text)
        except ValidationError as error:
            raise CellError("money", error.messages[0]) from None
        return found

    return read
