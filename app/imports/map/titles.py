"""Titles of columns: the field that one names in any spelling, the unit beside it, and what it may misspell."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from app.imports.map.misspellings import Misspelling, find_misspelling
from app.resource import Field, Kind, Resource
from app.sheets.cells import unit_factor

_REQUIRED_MARKS = re.compile(r"[(\[【]\s*(required|optional|必填|必须|选填|可选)\s*[)\]】]|\*", re.IGNORECASE)
_PARENTHESES = re.compile(r"[(\[]([^()\[\]]*)[)\]]\s*$")
_WORD_ENDS = re.compile(r"[\s_/]+")

FIRST_ALIAS = 4
"""The rank of a field's first alias, after its label and its names."""
MAX_ALTERNATIVES = 3


class TitleMatch(NamedTuple):
    """A field that a title names: how exactly (0 is best), and the factor of the title's unit."""

    rank: int
    field: Field
    scale: float


def match_title(title: str, resource: Resource) -> TitleMatch | None:
    """The field that a title names, in any of its readings."""
    spellings = spellings_of(resource)
    for key, unit in _readings(title):
        if key not in spellings:
            continue
        rank, item = spellings[key]
        scale = 1.0 if unit is None else unit_factor(unit, item.unit)
        if scale is not None:
            return TitleMatch(rank, item, scale)
    return None


def title_key(title: str) -> str:
    """The text by which titles are compared: letters and digits of any script, in lower case and normal width."""
    narrow = unicodedata.normalize("NFKC", title).casefold()
    return "".join(letter for letter in narrow if letter.isalnum())


def without_marks(title: str) -> str:
    """A title without marks such as (required) and *."""
    return _REQUIRED_MARKS.sub("", unicodedata.normalize("NFKC", title)).strip()


@functools.cache
def spellings_of(resource: Resource) -> dict[str, tuple[int, Field]]:
    """Every spelling of a resource's fields with its rank: the label first, then the name, then the aliases."""
    spellings: dict[str, tuple[int, Field]] = {}
    for item in resource.fields.values():
        if item.name in ("id", "version") or item.kind is Kind.DOCUMENT:
            continue
        without_unit = item.name.removesuffix(f"_{(item.unit or '').lower()}")
        for rank, name in enumerate((item.title, item.name, item.reads_as, without_unit, *item.aliases)):
            key = title_key(name)
            if key not in spellings or rank < spellings[key][0]:
                spellings[key] = (rank, item)
    return spellings


def misspelt_field(title: str, resource: Resource, filled: Iterable[Field]) -> Misspelling | None:
    """The field that a title probably misspells: the same first letter, and one or two typos.

    The first letter is seldom mistyped, and comparing it tells "GPU model" from "CPU model". A title that adds a
    word to a spelling is a title of its own: `Container ID` does not misspell `Container`. A field that another
    column fills is not suggested.
    """
    # Parentheses hold a unit or a remark.
    plain = _PARENTHESES.sub("", without_marks(title))
    key = title_key(plain)
    if len(key) < 4 or not key.isascii() or key[-1].isdigit():
        return None
    shortened = title_key(" ".join(_WORD_ENDS.split(plain)[:-1]))
    others = {item for item in resource.fields.values() if item.read_only}.union(filled)
    return find_misspelling(key, shortened, spellings_of(resource), others)


def attribute_key(title: str) -> str:
    """The name of the attribute that keeps a column: `GPU Share (milli)` is `gpu_share_milli`."""
    return re.sub(r"[\W_]+", "_", without_marks(title).lower()).strip("_")[:64]


def title_scale(title: str, item: Field) -> float:
    """The factor of the unit in a title, for the numbers of a field; 1 where it names none."""
    factor = title_unit(title, item)
    return 1.0 if factor is None else factor


def title_unit(title: str, item: Field) -> float | None:
    """The factor of the unit that a title names, for the numbers of a field."""
    factors = (unit_factor(unit, item.unit) for _, unit in _readings(title) if unit is not None)
    return next((factor for factor in factors if factor is not None), None)


def alternative_fields(title: str, resource: Resource, chosen: Field | None) -> list[str]:
    """The names of other fields that a title may mean, the nearest first."""
    spellings = spellings_of(resource)
    keys = [key for key, _ in _readings(title)]
    alike = [key for key in keys if key in spellings]
    for key in keys:
        alike += difflib.get_close_matches(key, spellings, n=MAX_ALTERNATIVES, cutoff=0.7)
    fields = dict.fromkeys(spellings[key][1] for key in alike)
    return [item.name for item in fields if item is not chosen and not item.read_only][:MAX_ALTERNATIVES]


def _readings(title: str) -> list[tuple[str, str | None]]:
    """The ways to read a title, each as its key and the unit that is left over; the most literal first."""
    plain = without_marks(title)
    readings: list[tuple[str, str | None]] = [(title_key(plain), None)]
    if parentheses := _PARENTHESES.search(plain):
        readings.append((title_key(plain[: parentheses.start()]), parentheses[1].strip()))
    words = _WORD_ENDS.split(plain)
    if len(words) > 1:
        readings.append((title_key(" ".join(words[:-1])), words[-1]))
    return readings
