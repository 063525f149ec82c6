"""`q` and the global search: objects that hold every word of a text, in any order and field."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.addresses import ip_address, mac_digits
from app.core.db.rules import is_folded, is_mac_address
from app.core.db.search.entries import SearchEntry
from app.core.values import fold, search_text
from app.resource.declaration import Resource
from app.resource.fields import Kind
from app.resource.query.conditions import escape_like
from app.resource.query.filters import TEXT, Filter
from app.resource.query.json_filters import ATTRIBUTE
from app.resource.query.searched_fields import is_searched, searched_fields

Word = tuple[str, ...]
"""The spellings of a word, folded; any of them will do."""

_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){2,}[:-]?|[0-9a-f]{4}(?:\.[0-9a-f]{2,4})+\.?")
"""A hardware address or a part of one, with separators. The table has it without them too."""

TRIGRAM = 3

entries = SearchEntry.__table__


def words_of(text: str) -> list[Word]:
    """The different words of a text, each with its spellings."""
    return list(dict.fromkeys(map(_spellings, fold(text).split())))


def _spellings(word: str) -> Word:
    if _MAC.fullmatch(word):
        return (word, mac_digits(word))
    try:
        return tuple(dict.fromkeys((word, ip_address(word))))
    except ValueError:
        return (word,)


def search_values(words: Sequence[Word], prefix: str = "q") -> dict[str, str]:
    """The parameters of `has_words` that look for these words."""
    values: dict[str, str] = {}
    for name, spelling in _named(words, prefix):
        searched = search_text(spelling)
        values[name] = searched
        values[f"{name}_like"] = f"%{escape_like(searched)}%"
        values[f"{name}_plain"] = f"%{escape_like(spelling)}%"
    return values


def _named(words: Sequence[Word], prefix: str) -> Iterator[tuple[str, str]]:
    for at, word in enumerate(words):
        yield from ((f"{prefix}{at}_{form}", spelling) for form, spelling in enumerate(word))


def holds_words(resource: Resource, words: Sequence[int], prefix: str = "q") -> sa.ColumnElement[bool]:
    """Whether an object holds all words, given by the numbers of their spellings."""
    if not is_searched(resource):
        texts = (sa.func.coalesce(column, "") for column in resource.search)
        joined: Any = sa.literal("", sa.Text())
        for text in texts:
            joined = joined + "\n" + text
        return has_words(sa.func.fold(joined), words, prefix, plain=True)
    matching_ids = sa.select(entries.c.resource_id).where(
        of_resource(resource), has_words(entries.c.content, words, prefix)
    )
    identity: sa.ColumnElement[int] = resource.model.__table__.c.id
    return identity.in_(matching_ids)


def is_among_searched(resource: Resource, item: Filter, value: Any) -> bool:
    """Whether each object that meets a filter has its value in its searched text, long enough for a trigram."""
    if not is_searched(resource) or item.or_empty or not isinstance(value, str) or len(search_text(value)) < TRIGRAM:
        return False
    if item.name.startswith(ATTRIBUTE):
        return item.operator in {"", *TEXT} and not item.numeric
    field = next((field for field in searched_fields(resource) if field.name == item.name), None)
    if field is None or field.kind is not Kind.TEXT or is_mac_address(field.column) or not is_folded(field.column):
        return False
    return item.operator in TEXT


def of_resource(resource: Resource) -> sa.ColumnElement[bool]:
    """The entries of a resource; written out, so that PostgreSQL plans for its partition alone."""
    return entries.c.resource_type == sa.literal_column(f"'{resource.name}'", sa.String())


def has_words(
    text: sa.ColumnElement[str], words: Sequence[int], prefix: str = "q", *, plain: bool = False
) -> sa.ColumnElement[bool]:
    """Whether a text has one spelling of each word; a `plain` one is folded, any other is of the search entries."""

    def has(name: str) -> sa.ColumnElement[bool]:
        if plain:
            return text.like(sa.bindparam(f"{name}_plain", type_=sa.Text), escape="\\")
        # A literal, not a parameter: the generic plan of a prepared statement would serve rare and frequent texts
        # alike, and takes 3 s where the plan for the text takes 2 ms.
        pattern = sa.bindparam(f"{name}_like", type_=sa.Text, literal_execute=True)
        return sa.func.contains_text(text, pattern, sa.bindparam(name, type_=sa.Text))

    spellings = ((f"{prefix}{at}_{form}" for form in range(count)) for at, count in enumerate(words))
    return sa.and_(*(sa.or_(*map(has, names)) for names in spellings))
