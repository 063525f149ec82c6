"""CellReader a cell as the value of its field: text as numbers, numbers as text, aliases of choices, lists."""

import difflib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from marshmallow import ValidationError

from app.core.library_messages import recognised
from app.core.messages import tr
from app.core.values import Inexact, whole
from app.imports.map.titles import title_key
from app.imports.parse import cell_errors, guesses
from app.resource import Field, Kind, ip_address
from app.resource.converter import marshmallow_field
from app.resource.json_fields import MAX_TEXT
from app.sheets.cells import (
    CLEAR,
    FORMULA_ERRORS,
    UNCOMPUTED,
    CellError,
    Guess,
    Value,
    as_number,
    as_text,
    exact,
    has_template,
    read_money,
    read_number,
    shown,
    split_list,
    unescape,
    with_decimal_point,
)
from app.sheets.dates import AmbiguousDate, DateOrder, read_date

_YES = frozenset({"true", "yes", "y", "1", "是", "√", "启用"})
_NO = frozenset({"false", "no", "n", "0", "否", "×", "停用"})

_SPECIAL_BEGINNINGS = frozenset({text[0] for text in (CLEAR, UNCOMPUTED, *FORMULA_ERRORS)} | {"'"})
"""The first characters of texts that are read as something else, and of escaped texts."""

CellReader = Callable[[Value], Any]
"""Returns the value of a filled cell; raises CellError."""


@dataclass(frozen=True, slots=True)
class CellFormat:
    """How the cells of a column are written.

    The factor of numbers and the decimal separator; the first day of dates, the order that the upload names, and the
    function that finds the order of a column.
    """

    scale: float = 1.0
    epoch_1904: bool = False
    decimal_comma: bool = False
    named_order: DateOrder | None = None
    find_order: Callable[[], DateOrder | None] = lambda: None


_PLAIN = CellFormat()


def reader_of(field: Field, cell_format: CellFormat = _PLAIN) -> CellReader:
    """The function that reads the cells of a field."""
    read = _READERS[field.kind](field, cell_format)

    def read_unless_error(value: Value) -> Any:
        # Fast path of a text without a special meaning.
        if not isinstance(value, str) or (value[:1] not in _SPECIAL_BEGINNINGS and "{{" not in value):
            return read(value)
        check_computed(value)
        return _cleared(field) if value == CLEAR else read(unescape(value))

    return read_unless_error


def check_computed(value: str) -> None:
    """Raise CellError for the text of a formula or a template variable that has no value."""
    if "{{" in value and not value.startswith("'") and has_template(value):
        message = tr("“{value}” is a template variable without a value: enter the value itself.", value=shown(value))
        raise CellError("template", message)
    if value in FORMULA_ERRORS:
        raise CellError("excel_error", tr("The formula of this cell fails with {value}: correct it.", value=value))
    if value == UNCOMPUTED:
        message = tr(
            "The formula of this cell has no stored value: open the file in a spreadsheet program and save it."
        )
        raise CellError("formula", message)


def read_attribute(cell: Value, *, is_typed: bool = False) -> Value:
    """The value of a cell that fills no field: kept as it is, but text is trimmed; raises CellError.

    `is_typed` says that it is read by its looks, because delimited text has no types.
    """
    value = as_number(cell) if is_typed else cell
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return exact(value)
    text = as_text(value)
    check_computed(text)
    if len(text) > MAX_TEXT:
        raise CellError("length", cell_errors.too_long(text, MAX_TEXT))
    return None if text == CLEAR else unescape(text, is_typed=is_typed)


def _cleared(field: Field) -> Any:
    """The value of a cleared field; raises CellError where it may not be empty."""
    if field.kind is Kind.LIST:
        return []
    if field.kind is Kind.ATTRIBUTES:
        return None
    if not field.nullable:
        raise CellError("required", cell_errors.not_cleared(field))
    return None


def _text_reader(field: Field, _format: CellFormat) -> CellReader:
    check, length = field.check, field.length or MAX_TEXT

    def read(value: Value) -> str | Guess:
        text, prefix = as_text(value), ""
        if check is not None:
            if not text.isascii():
                text = unicodedata.normalize("NFKC", text)
            if check is ip_address:
                text, prefix = guesses.split_prefix(text)
            try:
                text = check(text)
            except ValueError as error:
                raise CellError("format", cell_errors.refused(value, error.args[0])) from None
        if len(text) > length:
            raise CellError("length", cell_errors.too_long(text, length))
        return guesses.without_prefix(value, text, prefix) if prefix else text

    return read


def _number_reader(field: Field, cell_format: CellFormat) -> CellReader:
    integral, unit, scale = field.kind is Kind.INTEGER, field.unit, cell_format.scale
    lowest, highest = field.minimum, field.maximum
    assert lowest is not None
    assert highest is not None

    def read(value: Value) -> float | Guess:
        number = read_number(value, unit, scale)
        if integral:
            # A size in another unit seldom comes out even; a count must.
            if unit in ("GB", "MB"):
                number = round(number)
            elif number != int(number) and not field.rounds_down:
                raise CellError("integer", cell_errors.not_whole(value))
        if not lowest <= number <= highest:
            raise CellError("range", cell_errors.out_of_range(value, field))
        if integral and number != int(number):
            return guesses.rounded_down(number)
        return int(number) if integral else whole(round(number, 3))

    return _with_point(read, cell_format)


def _money_reader(field: Field, cell_format: CellFormat) -> CellReader:
    parse = marshmallow_field(field)

    def read(value: Value) -> Decimal | Guess:
        try:
            amount: Decimal = parse.deserialize(read_money(value))
        except ValidationError as error:
            raise CellError("money", cell_errors.refused(value, recognised(error.messages[0]))) from None
        return guesses.without_currency(value, amount)

    return _with_point(read, cell_format)


def _with_point(read: CellReader, cell_format: CellFormat) -> CellReader:
    if not cell_format.decimal_comma:
        return read
    return lambda value: read(with_decimal_point(value) if isinstance(value, str) else value)


def _boolean_reader(_field: Field, _format: CellFormat) -> CellReader:
    def read(value: Value) -> bool:
        text = unicodedata.normalize("NFKC", as_text(value)).lower()
        if text in _YES or text in _NO:
            return text in _YES
        raise CellError("boolean", cell_errors.no_boolean(value))

    return read


def _date_reader(_field: Field, cell_format: CellFormat) -> CellReader:
    epoch_1904 = cell_format.epoch_1904

    def read(value: Value) -> date | Guess:
        try:
            try:
                return read_date(value, epoch_1904=epoch_1904, order=cell_format.named_order)
            except AmbiguousDate:
                return read_date(value, order=cell_format.find_order())
        except AmbiguousDate as error:
            raise CellError("ambiguous_date", error.args[0]) from None
        except ValueError:
            raise CellError("date", cell_errors.no_date(value)) from None

    return read


def _time_reader(field: Field, _format: CellFormat) -> CellReader:
    parse = marshmallow_field(field)

    def read(value: Value) -> datetime:
        try:
            moment: datetime = parse.deserialize(as_text(value))
        except ValidationError:
            raise CellError("time", cell_errors.no_time(value)) from None
        return moment

    return read


def _choice_reader(field: Field, _format: CellFormat) -> CellReader:
    assert field.choices is not None
    members = {
        title_key(spelling): (member, isinstance(spelling, Inexact))
        for member in reversed(field.choices)
        for spelling in (*reversed(member.aliases), member.value)
    }

    def read(value: Value) -> Any:
        key = title_key(as_text(value))
        if key not in members:
            values = [member.value for member in field.choices or ()]
            close = difflib.get_close_matches(key, members, n=1)
            suggestion = members[close[0]][0].value if close else None
            raise CellError("choice", cell_errors.no_choice(value, values), suggestion)
        member, is_inexact = members[key]
        return guesses.inexact_reading(value, member) if is_inexact else member

    return read


def _list_reader(field: Field, cell_format: CellFormat) -> CellReader:
    parse = _json_reader(field, cell_format)

    def read(value: Value) -> list[str]:
        text = as_text(value)
        if text.startswith("["):
            entries: list[str] = parse(text)
            return entries
        return split_list(text)

    return read


def _json_reader(field: Field, _format: CellFormat) -> CellReader:
    parse = marshmallow_field(field)

    def read(value: Value) -> Any:
        try:
            return parse.deserialize(orjson.loads(as_text(value)))
        except (orjson.JSONDecodeError, ValidationError):
            raise CellError("json", cell_errors.no_json(value)) from None

    return read


def _name_reader(_field: Field, _format: CellFormat) -> CellReader:
    return as_text


_READERS: dict[Kind, Callable[[Field, CellFormat], CellReader]] = {
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
