"""From a cell to the value of its field: numbers as text, text as numbers, units, aliases, placeholders."""

import difflib
import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson
from marshmallow import ValidationError

from app.core.database import CENT, whole
from app.resource.fields import Field, Kind
from app.resource.formats import ip_address
from app.resource.schema import MAX_TEXT, clean_text, marshmallow_field
from app.transfer.dates import Guess, read_date
from app.transfer.titles import factor, key_of
from app.transfer.workbook import Value

CLEAR = "<clear>"
"""A cell that holds only this empties the field; an empty cell leaves it alone."""

PLACEHOLDERS = frozenset(
    {
        "-",
        "--",
        "—",
        "/",
        "n/a",
        "na",
        "nil",
        "none",
        "null",
        "无",
        "暂无",
        "default string",
        "to be filled by o.e.m.",
    }
)
_EXCEL_ERRORS = frozenset({"#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?", "#NULL!"})
_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[+-]?\.\d+)\s*([^\d\s.,]*)")
# What a template engine was to fill in and did not.
_TEMPLATE = re.compile(r"\{\{.*\}\}")
_SEPARATORS = re.compile(r"[,;，；、\n]")
_YES = frozenset({"true", "yes", "y", "1", "是", "√", "启用"})
_NO = frozenset({"false", "no", "n", "0", "否", "×", "停用"})

Read = Callable[[Value], Any]


class CellError(Exception):
    """A cell whose value does not fit: which rule, what is wrong, and what was probably meant."""

    def __init__(self, rule: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.suggestion = rule, message, suggestion


def is_placeholder(text: str) -> bool:
    """Whether a text only says that there is nothing."""
    return text.lower() in PLACEHOLDERS


def reader_of(field: Field, scale: float) -> Read:
    """A function from a filled cell to the field's value; it raises CellError.

    `scale` is what a bare number is multiplied by. Texts that repeat down a column are read once.
    """
    read = _READERS[field.kind](field, scale)
    known: dict[Value, Any] = {}

    def remembered(value: Value) -> Any:
        # True and 1 are the same key, and numbers are cheap to read anyway.
        if not isinstance(value, str):
            return read(value)
        if value in known:
            return known[value]
        if value in _EXCEL_ERRORS:
            raise CellError("excel_error", f"The cell's formula fails with {value}.")
        found = read(value)
        if len(known) < 10_000:
            known[value] = found
        return found

    return remembered


def as_text(value: Value) -> str:
    """A cell as the text that a person reads in it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(whole(value))
    if isinstance(value, str) and _TEMPLATE.search(value):
        raise CellError("template", "This is a template that nobody has filled in.")
    try:
        return clean_text(str(value))
    except ValueError as error:
        raise CellError("text", str(error)) from None


def _text_reader(field: Field, _scale: float) -> Read:
    check, length = field.check, field.length or MAX_TEXT

    def read(value: Value) -> str:
        text = as_text(value)
        if check is ip_address:
            # Inventories write addresses with the length of their prefix.
            text = re.sub(r"/\d{1,3}$", "", text)
        if check is not None:
            try:
                text = check(text)
            except ValueError as error:
                raise CellError("format", str(error)) from None
        if len(text) > length:
            raise CellError("length", f"May have at most {length} characters.")
        return text

    return read


def _number_reader(field: Field, scale: float) -> Read:
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


def _money_reader(field: Field, _scale: float) -> Read:
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


def _boolean_reader(_field: Field, _scale: float) -> Read:
    def read(value: Value) -> bool:
        text = as_text(value).lower()
        if text in _YES or text in _NO:
            return text in _YES
        raise CellError("boolean", "Must be yes or no.")

    return read


def _date_reader(_field: Field, _scale: float) -> Read:
    def read(value: Value) -> date | Guess:
        try:
            return read_date(value)
        except ValueError:
            raise CellError("date", "Must be a date such as 2027-10-24.") from None

    return read


def _time_reader(field: Field, _scale: float) -> Read:
    parse = marshmallow_field(field)

    def read(value: Value) -> datetime:
        try:
            found: datetime = parse.deserialize(as_text(value))
        except ValidationError:
            raise CellError("time", "Must be a time such as 2027-10-24T08:00:00Z.") from None
        return found

    return read


def _choice_reader(field: Field, _scale: float) -> Read:
    assert field.choices is not None
    known = {
        key_of(spelling): member
        for member in reversed(field.choices)
        for spelling in (*reversed(member.aliases), member.value)
    }

    def read(value: Value) -> Any:
        found = known.get(key_of(as_text(value)))
        if found is None:
            values = [member.value for member in field.choices or ()]
            near = difflib.get_close_matches(key_of(as_text(value)), known, n=1)
            suggestion = known[near[0]].value if near else None
            raise CellError("choice", f"Must be one of {', '.join(values)}.", suggestion)
        return found

    return read


def separates(text: str) -> bool:
    """Whether a text in a list of texts would be taken for several, or for JSON."""
    return bool(_SEPARATORS.search(text)) or text.startswith("[")


def _list_reader(field: Field, _scale: float) -> Read:
    parse = _json_reader(field, 1.0)

    def read(value: Value) -> list[str]:
        text = as_text(value)
        if text.startswith("["):
            found: list[str] = parse(text)
            return found
        return [part.strip() for part in _SEPARATORS.split(text) if part.strip()]

    return read


def _json_reader(field: Field, _scale: float) -> Read:
    parse = marshmallow_field(field)

    def read(value: Value) -> Any:
        try:
            return parse.deserialize(orjson.loads(as_text(value)))
        except (orjson.JSONDecodeError, ValidationError):
            raise CellError("json", "Must be JSON, as an export writes it.") from None

    return read


def _name_reader(_field: Field, _scale: float) -> Read:
    return as_text


_READERS: dict[Kind, Callable[[Field, float], Read]] = {
    Kind.TEXT: _text_reader,
    Kind.INTEGER: _number_reader,
    Kind.NUMBER: _number_reader,
    Kind.MONEY: _money_reader,
    Kind.BOOLEAN: _boolean_reader,
    Kind.DATE: _date_reader,
    Kind.TIME: _time_reader,
    Kind.CHOICE: _choice_reader,
    Kind.REFERENCE: _name_reader,
    Kind.LIST: _list_reader,
    Kind.OBJECTS: _json_reader,
    Kind.ATTRIBUTES: _json_reader,
}
