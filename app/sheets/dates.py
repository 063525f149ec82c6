"""Dates in cells: ISO dates, other orders, partial dates, serial numbers of Excel."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta

from app.sheets.cells import Value

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
_YEAR_FIRST = re.compile(r"(\d{4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})日?(?:[t ].*)?")
_NUMBER = re.compile(r"\d{5}(?:\.\d+)?")
_YEAR = re.compile(r"(\d{4})年?")
_NAME_AND_YEAR = re.compile(r"([a-z]{3})[a-z]*[., -]+(\d{4})")
_YEAR_AND_MONTH = re.compile(r"(\d{4})\s?[-/.年]\s?(\d{1,2})月?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.]) ?(\d{1,2})\2 ?(\d{4})(?:[t ].*)?")
_DAY_AND_NAME = re.compile(r"(?:[a-z]{3,9},? )?(\d{1,2})(?:st|nd|rd|th)?[ -]([a-z]{3})[a-z]*[., -]+(\d{4}|\d\d)")
_NAME_AND_DAY = re.compile(r"(?:[a-z]{3,9},? )?([a-z]{3})[a-z]*\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})")


@dataclass(frozen=True, slots=True)
class Guess:
    """The probable date of an incomplete one, with a warning; `value` is None if there is no usable date."""

    value: date | None
    message: str


def read_date(value: Value, *, epoch_1904: bool = False) -> date | Guess:
    """The date in a cell; raises ValueError if it is not a date, or can be read in two ways."""
    if isinstance(value, bool) or value is None:
        raise ValueError("A boolean or an empty cell is not a date.")
    text = unicodedata.normalize("NFKC", str(value)).strip().lower()
    if _NUMBER.fullmatch(text):
        days, epoch = int(float(text)), _EPOCH_1904 if epoch_1904 else _EPOCH
        if days + (epoch - _EPOCH).days in _SERIAL_NUMBERS:
            return epoch + timedelta(days=days)
    if text in _PAST:
        return Guess(None, "The cell has no date: the value stays as it is.")
    return _partial(text) or _whole(text)


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
    return Guess(guess.value, f"There is no month {month}. {guess.message}")


def _first_of(year: int, month: int) -> Guess:
    first = date(year, month, 1)
    return Guess(first, f"The date has no day: read as {first.isoformat()}.")


def _whole(text: str) -> date:
    if match := _YEAR_FIRST.fullmatch(text):
        return date(int(match[1]), int(match[2]), int(match[3]))
    if match := _YEAR_LAST.fullmatch(text):
        return _year_last(int(match[1]), match[2], int(match[3]), int(match[4]))
    if (match := _DAY_AND_NAME.fullmatch(text)) and match[2] in _MONTHS:
        # Excel shows 24-Oct-27 by default; two digits up to 68 are 2000 to 2068, as in POSIX.
        year = int(match[3])
        century = 0 if year > 99 else 2000 if year <= 68 else 1900
        return date(century + year, _MONTHS[match[2]], int(match[1]))
    if (match := _NAME_AND_DAY.fullmatch(text)) and match[1] in _MONTHS:
        return date(int(match[3]), _MONTHS[match[1]], int(match[2]))
    return date.fromisoformat(text)


def _year_last(first: int, separator: str, second: int, year: int) -> date:
    """With dots the day comes first; with slashes and hyphens only a number above 12 decides."""
    months = len(_MONTHS)
    if separator == "." or first > months or first == second:
        return date(year, second, first)
    if second > months:
        return date(year, first, second)
    raise ValueError("The date can be read in two ways: write the year first.")
