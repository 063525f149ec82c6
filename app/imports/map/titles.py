"""What titles in spreadsheets mean: labels, names and aliases in any spelling, and the units beside them."""

import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.sheets.amounts import unit_factor

_MARKS = re.compile(r"[(\[【]\s*(required|optional|必填|必须|选填|可选)\s*[)\]】]|\*", re.IGNORECASE)
_PARENTHESES = re.compile(r"\(([^()]*)\)\s*$")


def key_of(title: str) -> str:
    """What is compared: letters and digits of any script, in lower case, full-width ones made narrow."""
    narrow = unicodedata.normalize("NFKC", title).casefold()
    return "".join(letter for letter in narrow if letter.isalnum())


@dataclass(frozen=True, slots=True)
class Title:
    """A sheet's title taken apart: the spellings to look up, each with the unit that it leaves over."""

    text: str
    readings: tuple[tuple[str, str | None], ...]


def take_apart(text: str) -> Title:
    """Read a title in every way that it may be meant, the most literal first."""
    plain = without_marks(text)
    readings: list[tuple[str, str | None]] = [(key_of(plain), None)]
    if found := _PARENTHESES.search(plain):
        readings.append((key_of(plain[: found.start()]), found[1].strip()))
    words = re.split(r"[\s_/]+", plain)
    if len(words) > 1:
        readings.append((key_of(" ".join(words[:-1])), words[-1]))
    return Title(text.strip(), tuple(readings))


def without_marks(text: str) -> str:
    """A title without what only says whether the column must be filled."""
    return _MARKS.sub("", unicodedata.normalize("NFKC", text)).strip()


@functools.cache
def spellings(resource: Resource) -> dict[str, tuple[int, Field]]:
    """Every spelling of a resource's fields with its rank: its label first, then its name, then its aliases."""
    found: dict[str, tuple[int, Field]] = {}
    for field in resource.fields.values():
        if field.name in ("id", "version") or field.kind is Kind.DOCUMENT:
            continue
        bare = field.name.removesuffix(f"_{(field.unit or '').lower()}")
        names = [field.title, field.name, field.reads_as, bare, *field.aliases]
        for rank, name in enumerate(names):
            known = found.get(key_of(name))
            if known is None or rank < known[0]:
                found[key_of(name)] = (rank, field)
    return found


Match = tuple[int, Field, float]
"""How well a title names a field (0 is best), the field, and the factor of the title's unit."""


def match(title: Title, resource: Resource) -> Match | None:
    """The field that a title names, if it names one in any of its readings."""
    known = spellings(resource)
    for key, unit in title.readings:
        if key not in known:
            continue
        rank, field = known[key]
        if unit is None:
            return rank, field, 1.0
        scale = unit_factor(unit, field.unit)
        if scale is not None:
            return rank, field, scale
    return None


def near_miss(title: Title, resource: Resource, taken: Iterable[Field]) -> str | None:
    """The label that a title probably misspells: the same first letter, and one or two slips of the pen.

    A slip is a letter too many, too few, wrong or swapped. The first letter is seldom wrong by accident, and
    asking for it tells "GPU model" from "CPU model". A field that another column fills is no candidate.
    """
    others = set(taken)
    # What stands in parentheses is a unit or a remark, and misspells nothing.
    key = key_of(_PARENTHESES.sub("", without_marks(title.text)))
    if len(key) < 4 or not key.isascii():
        return None
    allowed = 1 if len(key) < 8 else 2
    for spelling, (_, field) in spellings(resource).items():
        candidate = spelling[:1] == key[:1] and field not in others and not field.read_only
        if candidate and 0 < slips(key, spelling, allowed) <= allowed:
            return field.title
    return None


def slips(one: str, other: str, limit: int) -> int:
    """The optimal string alignment distance of two texts, or `limit + 1` where it is larger."""
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    current = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, last, current = current, before, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, current[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return limit + 1
    return min(current[-1], limit + 1)
