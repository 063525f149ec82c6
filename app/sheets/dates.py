"""Dates in cells: ISO dates, other orders, partial dates, serial numbers of Excel."""

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, timedelta

from app.core.messages import tr
from app.core.values import Choice
from app.sheets.cells import Guess, Value, shown

_EPOCH = date(1899, 12, 30)
_EPOCH_1904 = date(1904, 1, 1)
# From 1954 to 2119: a smaller number is a year, a larger one a date without hyphens.
_SERIAL_NUMBERS = range(20_000, 80_000 + 1)
_YEARS = range(1950, 2200)
_PAST = frozenset({"expired", "过期", "已过期", "已过保"})
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_YEAR_FIRST = re.compile(r"(\d{4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})日?(?:[t ](.*))?")
_NUMBER = re.compile(r"\d{5}(?:\.\d+)?")
_YEAR = re.compile(r"(\d{4})年?")
_NAME_AND_YEAR = re.compile(r"([a-z]{3})[a-z]*[., -]+(\d{4})")
_YEAR_AND_MONTH = re.compile(r"(\d{4})\s?[-/.年]\s?(\d{1,2})月?")
_ORDERED = re.compile(r"(\d{1,2})([-/.]) ?(\d{1,2})\2 ?(\d{4}|\d\d)(?:[t ](.*))?")
_MIDNIGHT = re.compile(r"(?:0?0:00(?::00(?:\.0+)?)?|12:00(?::00)? ?am) ?(?:z|utc|[+-]\d\d:?\d\d)?")
_DAY_AND_NAME = re.compile(r"(?:[a-z]{3,9},? )?(\d{1,2})(?:st|nd|rd|th)?[ -]([a-z]{3})[a-z]*[., -]+(\d{4}|\d\d)")
_NAME_AND_DAY = re.compile(r"(?:[a-z]{3,9},? )?([a-z]{3})[a-z]*\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})")


class DateOrder(Choice):
    """The order of day, month and year in dates such as 03/04/2027."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


class AmbiguousDate(ValueError):
    """A date that can be read in several ways; `readings` are its dates by their order."""

    def __init__(self, text: str, readings: dict[DateOrder, date]) -> None:
        dates = ", ".join(day.isoformat() for day in sorted(set(readings.values())))
        orders = ", ".join(f"dates={order.value}" for order in readings)
        super().__init__(
            tr(
                "“{value}” can be read as {dates}: set the order of the dates ({orders}), or write the year first.",
                value=text,
                dates=dates,
                orders=orders,
            )
        )


def read_date(value: Value, *, epoch_1904: bool = False, order: DateOrder | None = None) -> date | Guess:
    """The date in a cell; raises ValueError if it is not a date, AmbiguousDate if only its order can tell which."""
    if isinstance(value, bool) or value is None:
        raise ValueError("A boolean or an empty cell is not a date.")
    text = unicodedata.normalize("NFKC", str(value)).strip().lower()
    if _NUMBER.fullmatch(text):
        days, epoch = int(float(text)), _EPOCH_1904 if epoch_1904 else _EPOCH
        if days + (epoch - _EPOCH).days in _SERIAL_NUMBERS:
            day = epoch + timedelta(days=days)
            return day if float(text) == days else _day_alone(value, day)
    if text in _PAST:
        return Guess(None, tr("The cell has no date: the value stays as it is."))
    return _partial(text) or _whole(value, text, order)


def settle_order(cells: Iterable[Value]) -> DateOrder | None:
    """The only order in which all dates of a column are dates; None if there are several, or none."""
    orders = set(DateOrder)
    for cell in cells:
        text = unicodedata.normalize("NFKC", str(cell)).strip().lower()
        if match := _ORDERED.fullmatch(text):
            orders &= _readings(match).keys()
    return orders.pop() if len(orders) == 1 else None


def _partial(text: str) -> Guess | None:
    """A year, or a year and a month: its first day, so that no warranty is read as longer than it is."""
    if (match := _YEAR.fullmatch(text)) and int(match[1]) in _YEARS:
        return _first_of(int(match[1]), 1)
    if (match := _NAME_AND_YEAR.fullmatch(text)) and match[1] in _MONTHS:
        return _first_of(int(match[2]), _MONTHS[match[1]])
    match = _YEAR_AND_MONTH.fullmatch(text)
    if match is None or int(match[1]) not in _YEARS:
        return None
    year, month = int(match[1]), int(match[2])
    if 1 <= month <= len(_MONTHS):
        return _first_of(year, month)
    guess = _first_of(year, 1)
    message = tr(
        "There is no month {month}. The date has no day: read as {date}.", month=month, **guess.message.parameters
    )
    return Guess(guess.value, message)


def _first_of(year: int, month: int) -> Guess:
    first = date(year, month, 1)
    return Guess(first, tr("The date has no day: read as {date}.", date=first.isoformat()))


def _whole(value: Value, text: str, order: DateOrder | None) -> date | Guess:
    if match := _YEAR_FIRST.fullmatch(text):
        day, rest = date(int(match[1]), int(match[2]), int(match[3])), match[4]
        return day if _says_nothing(rest) else _day_alone(value, day)
    if match := _ORDERED.fullmatch(text):
        day, rest = _ordered(match, order), match[5]
        return day if _says_nothing(rest) else _day_alone(value, day)
    if (match := _DAY_AND_NAME.fullmatch(text)) and match[2] in _MONTHS:
        # Excel shows 24-Oct-27 by default.
        return date(_full_year(match[3]), _MONTHS[match[2]], int(match[1]))
    if (match := _NAME_AND_DAY.fullmatch(text)) and match[1] in _MONTHS:
        return date(int(match[3]), _MONTHS[match[1]], int(match[2]))
    return date.fromisoformat(text)


def _says_nothing(rest: str | None) -> bool:
    """Whether what follows a day is nothing, or its first moment: so exports write a date without a time."""
    return rest is None or _MIDNIGHT.fullmatch(rest.strip()) is not None


def _day_alone(value: Value, day: date) -> Guess:
    message = tr(
        "“{value}” is read as {date}: what follows the day is left out.", value=shown(value), date=day.isoformat()
    )
    return Guess(day, message, "day_alone")


def _full_year(digits: str) -> int:
    """Two digits up to 68 are 2000 to 2068, as in POSIX."""
    year = int(digits)
    return year if year > 99 else year + (2000 if year <= 68 else 1900)


def _ordered(match: re.Match[str], order: DateOrder | None) -> date:
    readings = _readings(match)
    if order is None and match[2] == "." and DateOrder.DMY in readings:
        # With dots the day comes first.
        return readings[DateOrder.DMY]
    if order in readings:
        return readings[order]
    if order is None and len(set(readings.values())) == 1:
        return next(iter(readings.values()))
    if order is None and readings:
        raise AmbiguousDate(match[0], readings)
    raise ValueError("The date does not exist in this order.")


def _readings(match: re.Match[str]) -> dict[DateOrder, date]:
    """The dates that three numbers can be, by their order."""
    first, second, third = match[1], match[3], match[4]
    numbers = {DateOrder.DMY: (third, second, first), DateOrder.MDY: (third, first, second)}
    if len(third) == 2:
        numbers[DateOrder.YMD] = (first, second, third)
    readings = {}
    for order, (year, month, day) in numbers.items():
        with suppress(ValueError):
            readings[order] = date(_full_year(year), int(month), int(day))
    return readings
