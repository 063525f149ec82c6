"""Titles that probably misspell one of a resource's fields."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from app.resource import Field


class Misspelling(NamedTuple):
    """The field that a title probably misspells; `sure` with one typo that makes no other word, as CPU1 would."""

    field: Field
    sure: bool


def find_misspelling(
    key: str, shortened: str, spellings: Mapping[str, tuple[int, Field]], excluded: Collection[Field]
) -> Misspelling | None:
    """The field whose spelling is one or two typos away from a title; `shortened` is the title without its last word.

    All three are keys of titles, so that they compare without spaces and case.
    """
    allowed = 1 if len(key) < 8 else 2
    for spelling, (_, item) in spellings.items():
        candidate = spelling[:1] == key[:1] and spelling != shortened and item not in excluded
        if candidate and 0 < edit_distance(key, spelling, allowed) <= allowed:
            begins = key.startswith(spelling) or spelling.startswith(key)
            # Rank is a word of its own, and not Rack with a typo.
            is_long = len(key) > 5 or len(key) != len(spelling)
            return Misspelling(item, is_long and not begins and edit_distance(key, spelling, 1) == 1)
    return None


def edit_distance(one: str, other: str, limit: int) -> int:
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
