"""Search over all resources: objects that hold all words, best first; without any, those with a typo in a word.

Both read the search table, in one statement for all resources. Then the objects of the best hits
are read, in one statement for each resource that has some.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.db.statements import any_of, read_rows
from app.core.http.access import current_actor
from app.core.values import fold, search_text
from app.resource import Resource
from app.resource.query.conditions import escape_like
from app.resource.query.searched_fields import is_searched
from app.resource.query.text_search import Word, entries, has_words, of_resource, search_values, words_of
from app.resource.rows import projection_of, sees_own_only, visible
from app.search.ranking import hit
from app.search.typos import TypoShape, could_hold, similar_entry, typo_shape, typo_values

MAX_COUNT = 1000
"""Objects of one resource that are counted, and among which the best are selected."""


class Candidate(NamedTuple):
    """An object that matches, not yet read."""

    resource: Resource
    object_id: int


def search(text: str, types: Sequence[Resource], limit: int) -> dict[str, Any]:
    """The best hits of all resources, best first, and how many objects of each match, up to MAX_COUNT."""
    words, searched = words_of(text), [resource for resource in types if is_searched(resource)]
    matches, counts = _select_matching(searched, words, fold(text), limit)
    has_typo = not matches
    if has_typo:
        matches, counts = _select_similar(searched, words, limit)
    order = {resource.name: position for position, resource in enumerate(types)}
    hits = [hit(resource, item, words, text, has_typo=has_typo) for resource, item in _read(matches)]
    hits.sort(key=lambda hit: (-hit["score"], order[hit["type"]], hit["title"], hit["id"]))
    return {"hits": hits[:limit], "counts": {resource.name: counts.get(resource.name, 0) for resource in types}}


def _select_matching(
    types: Sequence[Resource], words: Sequence[Word], folded: str, limit: int
) -> tuple[list[Candidate], Mapping[str, int]]:
    """The best objects of each resource that hold all words, and how many do.

    The best are selected among the first MAX_COUNT by id, and those whose name is the text: ranking every match of a
    frequent text would read all of them.
    """
    name = search_text(folded)
    values = {**search_values(words), "name": name, "name_begins": f"{escape_like(name)}%"}
    values["name_line"] = f"{escape_like(name)}\n%"
    statement = _matching_statement(tuple(types), _own_only(types), tuple(map(len, words)), limit, MAX_COUNT)
    rows = _rows(statement, types, values)
    counts = {resource.name: row.matching for resource, row in rows}
    matches = dict.fromkeys(Candidate(resource, row.resource_id) for resource, row in rows)
    for resource in types:
        if counts.get(resource.name) == MAX_COUNT:
            matches |= dict.fromkeys(_select_named(resource, folded, limit))
    return list(matches), counts


@functools.lru_cache(maxsize=256)
def _matching_statement(
    types: tuple[Resource, ...], own_only: frozenset[str], shape: tuple[int, ...], limit: int, most: int
) -> Any:
    """The best of the first entries of each resource that hold the words, and how many these are."""
    content = entries.c.content
    rank = sa.case(
        (sa.or_(content == _text("name"), content.like(_text("name_line"), escape="\\")), 0),
        (content.like(_text("name_begins"), escape="\\"), 1),
        else_=2,
    )

    position = sa.func.position_in(content, _text("q0_0"))

    def best(resource: Resource) -> sa.Select[Any]:
        first = (
            sa.select(entries.c.resource_id, rank.label("rank"), position.label("position"))
            .where(*_visible_entries(resource, own_only), has_words(content, shape))
            .order_by(entries.c.resource_id)
            .limit(most)
            .subquery()
        )
        # A word that comes early is in a field that tells more.
        return (
            sa.select(first.c.resource_id, sa.func.count().over().label("matching"))
            .order_by(first.c.rank, first.c.position, first.c.resource_id)
            .limit(limit)
        )

    return _of_each(types, best)


def _select_similar(
    types: Sequence[Resource], words: Sequence[Word], limit: int
) -> tuple[list[Candidate], Mapping[str, int]]:
    """The objects that hold all words, with a typo in one of them; without any, with typos in several."""
    shape, values = typo_shape(words), typo_values(words)
    if not any(patterns for _, patterns in shape):
        return [], {}
    for in_every_word in (False, True)[: len(words)]:
        statement = _similar_statement(tuple(types), _own_only(types), shape, MAX_COUNT, in_every_word=in_every_word)
        rows = [
            Candidate(resource, row.resource_id)
            for resource, row in _rows(statement, types, values)
            if similar_entry(row.content, words, in_every_word=in_every_word)
        ]
        if rows:
            best = [one for resource in types for one in [each for each in rows if each.resource is resource][:limit]]
            return best, Counter(one.resource.name for one in rows)
    return [], {}


@functools.lru_cache(maxsize=256)
def _similar_statement(
    types: tuple[Resource, ...], own_only: frozenset[str], shape: TypoShape, most: int, *, in_every_word: bool
) -> Any:
    """Entries of each resource that could hold the words with a typo, and their texts.

    Each condition has its share of the candidates, so that a part of a word that nearly all objects have does not take
    the place of what another part finds.
    """
    conditions = could_hold(entries.c.content, shape, in_every_word=in_every_word)

    def candidates(resource: Resource) -> sa.Select[Any]:
        columns = (entries.c.resource_id, entries.c.content)
        seen = sa.select(*columns).where(*_visible_entries(resource, own_only))
        parts = [seen.where(condition).limit(most // len(conditions)).subquery() for condition in conditions]
        return sa.select(sa.union(*(sa.select(part) for part in parts)).subquery())

    return _of_each(types, candidates)


def _of_each(types: Sequence[Resource], select: Callable[[Resource], sa.Select[Any]]) -> Any:
    """One statement for a query of each resource's entries; the first column says by its place which it is."""
    parts = [select(resource).subquery() for resource in types]
    numbered = (
        sa.select(sa.literal_column(str(at), sa.Integer()).label("type"), *one.c) for at, one in enumerate(parts)
    )
    return sa.union_all(*numbered)


def _rows(statement: Any, types: Sequence[Resource], values: Mapping[str, Any]) -> list[tuple[Resource, Any]]:
    rows = read_rows(statement, {**values, "viewer": current_actor().id})
    return [(types[row.type], row) for row in rows]


def _own_only(types: Sequence[Resource]) -> frozenset[str]:
    """The resources with private objects: the acting user finds only their own."""
    return frozenset(resource.name for resource in types if sees_own_only(resource.model))


def _visible_entries(resource: Resource, own_only: frozenset[str]) -> list[sa.ColumnElement[bool]]:
    """The conditions on an entry of a resource that the acting user may find."""
    is_own = entries.c.owner_id == sa.bindparam("viewer", type_=sa.BigInteger)
    return [of_resource(resource), is_own] if resource.name in own_only else [of_resource(resource)]


def _select_named(resource: Resource, folded: str, limit: int) -> list[Candidate]:
    """The objects with exactly this name."""
    table = resource.model.__table__
    label = sa.func.fold(table.c[resource.model.label])
    statement = sa.select(table.c.id).where(label == folded, *visible(resource.model)).order_by(table.c.id).limit(limit)
    return [Candidate(resource, row.id) for row in read_rows(statement)]


def _read(matches: Sequence[Candidate]) -> list[tuple[Resource, dict[str, Any]]]:
    """The objects as they are read, with one statement for each resource."""
    items: list[tuple[Resource, dict[str, Any]]] = []
    for resource in dict.fromkeys(one.resource for one in matches):
        projection = projection_of(resource)
        ids = [one.object_id for one in matches if one.resource is resource]
        statement = projection.statement.where(any_of(resource.model.__table__.c.id, ids), *visible(resource.model))
        items += [(resource, projection.render(row)) for row in read_rows(statement)]
    return items


def _text(parameter: str) -> sa.BindParameter[str]:
    return sa.bindparam(parameter, type_=sa.Text)
