"""Numbers in cells: digits as text, thousands separators, decimal commas, units and currencies."""

import re
import unicodedata
from decimal import ROUND_HALF_UP, Decimal

from app.sheets.cell_text import CellError, Value, as_text

_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[+-]?\.\d+)\s*([^\d\s.,]*)")
_SEPARATED = re.compile(r"[+-]?\d[\d.,]*[.,][\d.,]*")
_CURRENCY = re.compile(r"^[¥$€£]|[¥$€£元]$|,(?=\d{3})")
_CENT = Decimal("0.01")

# In bytes. In this field a gigabyte of memory or disk has 1024 megabytes, whichever way it is written.
_SIZES = {
    unit: 1024**power
    for power, letter in enumerate("bkmgtp")
    for unit in ({letter, f"{letter}b", f"{letter}ib", f"{letter}byte", f"{letter}bytes"} if power else {"b", "bytes"})
}  # fmt: skip
_CORES = {**dict.fromkeys(("cores", "core", "vcpu", "vcpus", "核", "个"), 1.0), "milli": 0.001, "millicores": 0.001}


def unit_factor(unit: str, target: str | None) -> float | None:
    """The factor that converts a number in `unit` to `target` (GB, MB or cores); None if it cannot be converted."""
    unit = unicodedata.normalize("NFKC", unit).strip().lower()
    if target in ("GB", "MB") and unit in _SIZES:
        return float(_SIZES[unit] / _SIZES[target.lower()])
    if target == "cores":
        return _CORES.get(unit)
    return None


def read_number(value: Value, unit: str | None, scale: float) -> float:
    """The number in a cell, converted to `unit`; one without a unit of its own is multiplied by `scale`.

    Raises CellError.
    """
    if isinstance(value, bool):
        raise CellError("number", "Must be a number.")
    if isinstance(value, int | float):
        return value * scale
    match = _NUMBER.fullmatch(unicodedata.normalize("NFKC", str(value)).strip())
    if match is None:
        raise CellError("number", "Must be a number.")
    number = float(match[1].replace(",", ""))
    if not match[2]:
        return number * scale
    factor = unit_factor(match[2], unit)
    if factor is None:
        raise CellError("unit", f"{match[2]} cannot be converted to {unit}." if unit else "Must be a number.")
    return number * factor


def read_money(value: Value) -> str:
    """The digits of an amount without its currency and thousands separators, a binary fraction rounded to cents."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A cell holds a binary fraction: 0.1 + 0.2 must be 0.30.
        return str(Decimal(repr(value)).quantize(_CENT, ROUND_HALF_UP))
    return _CURRENCY.sub("", unicodedata.normalize("NFKC", as_text(value))).strip()


def with_decimal_point(text: str) -> str:
    """A text with its decimal comma replaced: `1.234,5 GB` is `1234.5 GB`.

    Raises CellError if the number can be read in two ways, as 65.536 can.
    """
    return _SEPARATED.sub(lambda match: _normalize(match[0]), text, count=1)


def _normalize(number: str) -> str:
    separator = max(".", ",", key=number.rfind)
    other = "," if separator == "." else "."
    whole_part, _, decimals = number.rpartition(separator)
    if separator in whole_part:
        return number.replace(separator, "")
    digits = whole_part.lstrip("+-")
    if other not in digits and len(decimals) == 3 and len(digits) <= 3 and digits != "0":
        raise CellError("number", "It may be read in two ways: write it without a separator.")
    return f"{whole_part.replace(other, '')}.{decimals}"
