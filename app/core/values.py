"""Limits, comparison and JSON form of values, for every layer."""

import enum
import functools
import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Self

import orjson

from app.core.messages import tr

# What the driver's numbers may hold: beyond them SQLite overflows and PostgreSQL compares as numeric.
MAX_INTEGER = 2**31 - 1
MAX_ID = 2**63 - 1
# The same for Python and PostgreSQL. 007 and 1e5 are texts.
PLAIN_NUMBER = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?"
MAX_EXACT = 2**53
"""Beyond it a double does not hold every integer."""


TRIMMED = (
    "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)
"""White space, including no-break spaces, and characters of no width: copied text often contains them unseen."""
DIGITS = 20
"""Longer numbers do not sort by their value."""
MAX_SORT_KEY = 500
"""Characters; an entry of an index of PostgreSQL has at most 2,704 bytes."""

CJK = "\u3040-\u30ff\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003fffd"
"""Ideographs, kana and hangul, as a range of a regular expression."""

DOTTED_I = re.compile("i\u0307+")
"""An i with dots above it, as the lower case of a dotted I is written."""
_NUMBER = re.compile("[0-9]+")
_COMPARED_BY_TYPE = frozenset({bool, dict, list})


def utcnow() -> datetime:
    return datetime.now(UTC)


class Inexact(str):
    """A text that does not mean quite the same as the value that it is read as: imports warn of it."""

    __slots__ = ()


def inexact(*texts: str) -> tuple[Inexact, ...]:
    return tuple(map(Inexact, texts))


class Choice(enum.Enum):
    """An enumeration stored and sent by value; further values of a member are its import aliases.

    One that says more or less than the member is `inexact`: several words of a file become one value.
    """

    aliases: tuple[str, ...]
    # A member is only equal to itself. Enum's own is a function in Python: 4 % of the application of an import.
    __hash__ = object.__hash__

    def __new__(cls, value: str, *aliases: str) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.aliases = aliases
        return member


def clean_text(value: str) -> str:
    """Trim a text that the databases can store, in NFC; raises ValueError with a sentence otherwise."""
    if "\x00" in value:
        raise ValueError(tr("May not contain the NUL character.", rule="characters"))
    if value.isascii():
        return value.strip()
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(tr("May not contain half of a surrogate pair.", rule="characters")) from None
    return unicodedata.normalize("NFC", value).strip(TRIMMED)


def fold(text: str) -> str:
    """The form in which texts are compared: case, width and Unicode form do not count.

    NFKC, then each character's lower case, no dot above an i, then NFC. `fold` in SQL gives the same on both
    databases: SQLite calls this one, PostgreSQL has it as a function (migrations/dialects).
    """
    if text.isascii():
        return text.lower()
    # str.lower() makes two characters of a dotted I, and looks at the neighbours of a sigma.
    one_by_one = unicodedata.normalize("NFKC", text).replace("İ", "i").replace("Σ", "σ")
    # Where other programs have lowered a dotted I, the dot stands beside the i.
    return unicodedata.normalize("NFC", DOTTED_I.sub("i", one_by_one.lower().replace("ς", "σ")))


def natural_key(text: str | None) -> str | None:
    """The form by which names are ordered: case does not count, and p2 comes before p10.

    `natural_key` in SQL gives the same: SQLite calls this one, PostgreSQL has it as a function (migrations/dialects).
    """
    if text is None:
        return None
    return _NUMBER.sub(lambda number: number[0].lstrip("0").zfill(DIGITS), fold(text))[:MAX_SORT_KEY]


def search_text(text: str) -> str:
    """A text as it is searched: folded, with spaces around each ideograph, so that one or two of them have trigrams.

    A text contains another exactly if their `search_text`s do, as long as the other has no spaces. `search_text` in
    SQL gives the same.
    """
    if text.isascii():
        return text.lower()
    return _ideograph().sub(r" \1 ", fold(text))


@functools.cache
def _ideograph() -> re.Pattern[str]:
    """Compiled when it is needed: an eighth of the start of the child that reads a workbook, which needs it never."""
    return re.compile(f"([{CJK}])")


def joined_search_text(*values: object) -> str:
    """The SQL function `search_text` of SQLite: the values that are not null, each on a line of its own."""
    return search_text("\n".join(str(value) for value in values if value is not None))


def as_read(content: str) -> str:
    """A searched text without the spaces that `search_text` adds."""
    return re.sub(f" ([{CJK}]) ", r"\1", content)


def fold_value(value: Any) -> Any:
    """A text as it is compared; any other value as it is."""
    return fold(value) if isinstance(value, str) else value


def whole(value: float) -> float:
    """An integer where the number is one, so that 256.0 and 256 are the same text everywhere."""
    return int(value) if value == int(value) else value


def plain_number(text: Any) -> float | None:
    """The number that a text is written like; None for other texts."""
    return float(text) if re.fullmatch(PLAIN_NUMBER, text) else None


def exact_number(number: float) -> float:
    """A number that every reader of JSON keeps as it is, 16.0 as 16; raises ValueError for one that some would round.

    JavaScript, Excel and SQLite read numbers as doubles. A float of 2^53 or more may be rounded already.
    """
    if abs(number) > MAX_EXACT or (isinstance(number, float) and abs(number) == MAX_EXACT):
        raise ValueError(tr("A number beyond 2^53 would be rounded: write it as text.", rule="range"))
    return whole(number)


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; Python alone finds 1 and true equal, also inside of lists and objects."""
    if one != other:
        return False
    if one is None or isinstance(one, str):
        return True
    if isinstance(one, dict):
        # Texts and numbers alone are the same if they are equal: 1 % of an import that changes nothing.
        if _COMPARED_BY_TYPE.isdisjoint(map(type, chain(one.values(), other.values()))):
            return True
        return all(same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return all(map(same_json, one, other))
    return isinstance(one, bool) == isinstance(other, bool)


def json_text(value: Any) -> str:
    """JSON with every value as `as_json` renders it; a float must be `whole` already."""
    return orjson.dumps(value, default=as_json, option=orjson.OPT_UTC_Z).decode()


def as_json(value: Any) -> Any:
    """Render a column value the way answers, audit records and plans show it."""
    if value is None or isinstance(value, (str, bool, int, list, dict)):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float):
        return whole(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"No JSON form for {type(value).__name__}.")
