"""Dates as people and Excel write them: in full, in part, as serial numbers, in several orders."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta

from app.sheets.cell_text import Value

_EPOCH = date(1899, 12, 30)
_EPOCH_1904 = date(1904, 1, 1)
# From 1954 to 2119: what is smaller is a year, and what is larger a date without its hyphens.
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
    """What a cell probably means, where it does not say it all; `value` is None where it means nothing usable."""

    value: date | None
    message: str


def read_date(value: Value, *, epoch_1904: bool = False) -> date | Guess:
    """The date in a cell; raises ValueError where it holds none, or one that can be read in two ways."""
    if isinstance(value, bool) or value is None:
        raise ValueError("Neither true nor nothing is a date.")
    text = unicodedata.normalize("NFKC", str(value)).strip().lower()
    if _NUMBER.fullmatch(text):
        days, epoch = int(float(text)), _EPOCH_1904 if epoch_1904 else _EPOCH
        if days + (epoch - _EPOCH).days in _SERIAL_NUMBERS:
            return epoch + timedelta(days=days)
    if text in _PAST:
        return Guess(None, "It does not say when: the value stays as it is.")
    return _partial(text) or _whole(text)


def _partial(text: str) -> Guess | None:
    """A year, or a year and its month: the first day of it, so that no warranty is longer than it was."""
    if (found := _YEAR.fullmatch(text)) and int(found[1]) in _YEARS:
        return _first_of(int(found[1]), 1)
    if (found := _NAME_AND_YEAR.fullmatch(text)) and found[1] in _MONTHS:
        return _first_of(int(found[2]), _MONTHS[found[1]])
    found = _YEAR_AND_MONTH.fullmatch(text)
    if found is None or int(found[1]) not in _YEARS:
        return None
    year, month = int(found[1]), int(found[2])
    if 1 <= month <= len(_MONTHS):
        return _first_of(year, month)
    guess = _first_of(year, 1)
    return Guess(guess.value, f"There is no month {month}. {guess.message}")


def _first_of(year: int, month: int) -> Guess:
    first = date(year, month, 1)
    return Guess(first, f"It does not say the day: read as {first.isoformat()}.")


def _whole(text: str) -> date:
    if found := _YEAR_FIRST.fullmatch(text):
        return date(int(found[1]), int(found[2]), int(found[3]))
    if found := _YEAR_LAST.fullmatch(text):
        return _year_last(int(found[1]), found[2], int(found[3]), int(found[4]))
    if (found := _DAY_AND_NAME.fullmatch(text)) and found[2] in _MONTHS:
        # 24-Oct-27 is what Excel shows by itself, and it means this century up to 68 as everything does.
        year = int(found[3])
        century = 0 if year > 99 else 2000 if year <= 68 else 1900
        return date(century + year, _MONTHS[found[2]], int(found[1]))
    if (found := _NAME_AND_DAY.fullmatch(text)) and found[1] in _MONTHS:
        return date(int(found[3]), _MONTHS[found[1]], int(found[2]))
    return date.fromisoformat(text)


def _year_last(one: int, mark: str, other: int, year: int) -> date:
    """With dots the day comes first everywhere; with slashes and hyphens only a number above 12 tells."""
    months = len(_MONTHS)
    if mark == "." or one > months or one == other:
        return date(year, other, one)
    if other > months:
        return date(year, one, other)
    raise ValueError("It may be read in two ways: write the year first.")
