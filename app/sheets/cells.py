"""Cells: their text (placeholders, formula errors, lists), numbers with units and currencies, names of columns."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson

from app.core.messages import Message, tr
from app.core.values import clean_text, exact_number

Value = str | int | float | bool | None
"""The value of a cell as the readers return it."""

CLEAR = "<clear>"
"""A cell that holds only this empties the field; an empty cell leaves it unchanged."""

PLACEHOLDERS = frozenset(
    (
        *("-", "--", "–", "—", "/", "n/a", "n.a.", "na", "nil", "none", "null", "not available", "not specified"),
        *("无", "没有", "暂无"),
        # What a vendor has left in the firmware.
        *("default string", "to be filled by o.e.m."),
    )
)
"""Read as empty cells everywhere."""

NO_IDENTIFIERS = frozenset(
    (
        *("?", "tba", "tbc", "tbd", "todo", "to do", "unknown", "unk", "not known", "undefined", "unspecified"),
        *("unassigned", "missing", "invalid", "pending", "not applicable", "not set", "not provided", "not assigned"),
        *("no serial", "no serial number", "no s/n", "no sn", "no tag", "no asset tag", "no asset information"),
        *("unbekannt", "inconnu", "desconocido", "sconosciuto", "неизвестно", "未知", "待定", "不详", "不适用"),
        # What a vendor has left in the firmware.
        *("o.e.m.", "oem", "system serial number", "chassis serial number", "board serial number", "serial number"),
        "asset tag",
    )
)
"""Read as empty cells where they would tell objects apart: as a tag or a serial number."""

_FILLER = re.compile(r"[0.:\s_-]+|[x.\s_-]+|[?*#.\s_-]+")
_UNSPECIFIED_ADDRESS = re.compile(r"[0.:-]+")
FORMULA_ERRORS = frozenset({"#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?", "#NULL!"})
UNCOMPUTED = "#FORMULA!"
"""The value of a cell whose formula has no stored value: a program wrote it, and no spreadsheet computed it."""
# As many digits as a spreadsheet keeps of a number. 2.10 may be a version: as a number it would lose its zero.
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{0,8}[1-9])?")
# A variable that a template engine did not replace.
_TEMPLATE = re.compile(r"\{\{.*\}\}")
_LIST_SEPARATORS = re.compile(r"[,;，；、\n]")

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


MAX_SHOWN = 60
"""Characters of a cell that a message about it repeats."""


class CellError(Exception):
    """A cell whose value is refused: the rule, a sentence, and the value that was probably meant."""

    def __init__(self, rule: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.suggestion = rule, message, suggestion


@dataclass(frozen=True, slots=True)
class Guess:
    """The probable value of a cell that is not exact, with a warning; `value` is None where nothing is probable.

    `meaning` names a reading whose warnings are counted apart from those of others of the rule.
    """

    value: Any
    message: Message
    rule: str = "guess"
    meaning: str | None = None


def shown(value: Value) -> str:
    """A cell as a message about it repeats it."""
    text = str(value).upper() if isinstance(value, bool) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def is_placeholder(text: str) -> bool:
    """Whether a text stands for an empty cell: n/a, -, none …"""
    return _plain(text) in PLACEHOLDERS


def is_no_identifier(text: str) -> bool:
    """Whether a text in a field that tells objects apart says that it is not known: unknown, TBD, 000000, ??? …"""
    plain = _plain(text)
    return plain in NO_IDENTIFIERS or _FILLER.fullmatch(plain) is not None


def is_unspecified_address(text: str) -> bool:
    """Whether a text is an address of zeros only: of no host, or of no network card."""
    return _UNSPECIFIED_ADDRESS.fullmatch(text) is not None


def _plain(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()


def as_number(text: Value) -> Value:
    """A number or boolean in delimited text (42, 1.5, TRUE); any other value unchanged, also 007, 2.10 and 1e5."""
    if not isinstance(text, str):
        return text
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text.lower() == "true" if text.lower() in ("true", "false") else text


def escape(text: str, *, is_typed: bool = False) -> str:
    """A text as a cell holds it that imports read back: one that they read as something else gets an apostrophe.

    That is `<clear>`, a placeholder, an error value, a template variable, and what escapes one. `is_typed` says that
    the cells of a column are read by their looks: `1.50` and `TRUE` are escaped there too.
    """
    plain = text.lstrip("'")
    return f"'{text}" if is_special(plain) or (is_typed and not isinstance(as_number(plain), str)) else text


def is_special(text: str) -> bool:
    """Whether imports read a text as something else than itself, in any column."""
    return (
        text in (CLEAR, UNCOMPUTED)
        or text in FORMULA_ERRORS
        or is_placeholder(text)
        or ("{{" in text and has_template(text))
    )


def has_template(text: str) -> bool:
    """Whether a text has a variable that a template engine did not replace."""
    return _TEMPLATE.search(text) is not None


def unescape(value: Value, *, is_typed: bool = False) -> Value:
    """A cell without the apostrophe that `escape` has put in front."""
    if isinstance(value, str) and value.startswith("'") and escape(value, is_typed=is_typed) != value:
        return value[1:]
    return value


def as_text(value: Value) -> str:
    """A cell as the text that a person reads in it; raises CellError."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return repr(exact(value))
    try:
        return clean_text(str(value))
    except ValueError as error:
        raise CellError("text", error.args[0]) from None


def exact(number: float) -> float:
    """A number of a cell, 16.0 as 16; raises CellError for one that is rounded in the file already."""
    try:
        return exact_number(number)
    except ValueError:
        message = tr(
            "“{value}” is beyond 2^53, where spreadsheets round numbers: format the cell as text and enter it again.",
            value=shown(number),
        )
        raise CellError("rounded", message) from None


def split_list(text: str) -> list[str]:
    """The entries of a list in one cell, separated by commas, semicolons or lines."""
    return [entry.strip() for entry in _LIST_SEPARATORS.split(text) if entry.strip()]


def join_list(entries: Sequence[str]) -> str | None:
    """A list as the text of one cell: JSON if `split_list` would not return the same entries."""
    if any(_LIST_SEPARATORS.search(entry) or entry.startswith("[") for entry in entries):
        return orjson.dumps(entries).decode()
    return ", ".join(entries) or None


def unit_factor(unit: str, target: str | None) -> float | None:
    """The factor that converts a number in `unit` to `target`; None if it cannot be converted.

    GB, MB and cores have other units and names, any other unit only itself.
    """
    unit = unicodedata.normalize("NFKC", unit).strip().lower()
    if target in ("GB", "MB") and unit in _SIZES:
        return float(_SIZES[unit] / _SIZES[target.lower()])
    if target == "cores":
        return _CORES.get(unit)
    return 1.0 if target is not None and unit == target.lower() else None


def read_number(value: Value, unit: str | None, scale: float) -> float:
    """The number in a cell, converted to `unit`; one without a unit of its own is multiplied by `scale`.

    Raises CellError.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * scale
    match = _NUMBER.fullmatch(unicodedata.normalize("NFKC", str(value)).strip())
    if match is None:
        raise CellError("number", _no_number(value, unit))
    number = float(match[1].replace(",", ""))
    if not match[2]:
        return number * scale
    factor = unit_factor(match[2], unit)
    if factor is None:
        message = (
            tr(
                "“{value}” is in {given}, which cannot be converted to {unit}: write the number in {unit}.",
                value=shown(value),
                given=match[2],
                unit=unit,
            )
            if unit
            else _no_number(value, unit)
        )
        raise CellError("unit", message)
    return number * factor


def _no_number(value: Value, unit: str | None) -> Message:
    if unit is None:
        return tr("“{value}” is not a number: write digits only, such as 64.", value=shown(value))
    return tr("“{value}” is not a number: write digits, such as 64 or 64 {unit}.", value=shown(value), unit=unit)


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
        raise CellError(
            "number",
            tr("“{value}” can be read in two ways: write the number without a separator.", value=shown(number)),
        )
    return f"{whole_part.replace(other, '')}.{decimals}"


def letters(index: int) -> str:
    """The name of a column, counted from 0."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def column_index(name: str) -> int:
    """The index of a column from 0, given its name."""
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
