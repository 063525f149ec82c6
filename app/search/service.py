"""Search over all resources: exact matches, then prefixes, then substrings; without any of these, similar names."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import read_rows
from app.core.values import fold
from app.resource import Resource
from app.resource.projection import projection_of, visible
from app.resource.query.filters import escape_like
from app.resource.query.text_search import matches, may_match, search_values

MIN_SIMILARITY = 0.6
"""The ratio of difflib, from 0 to 1, from which a name counts as a misspelling of the text."""
FUZZY_CANDIDATES = 200
"""Objects of one resource whose names are compared with the text."""
FUZZY_SCAN_ROWS = 10_000
"""Objects of one resource that share a fragment with the text; the candidates are the closest of them."""
MAX_COUNT = 1000
"""Objects of one resource that are counted, and among which the best are selected."""
MIN_FUZZY_LENGTH = 4
"""Characters from which typos are forgiven: too much resembles a shorter text."""

Hit = dict[str, Any]


def search(text: str, types: Sequence[Resource], limit: int) -> dict[str, Any]:
    """The best hits of all resources, best first, and how many objects of each contain the text, up to MAX_COUNT.

    The number of statements depends on the number of resources alone.
    """
    results = {resource.name: _select_containing(resource, text, limit) for resource in types}
    counts = {name: count for name, (count, _) in results.items()}
    hits = [hit for _, best in results.values() for hit in best]
    if not hits and len(text) >= MIN_FUZZY_LENGTH:
        hits = [hit for resource in types for hit in _select_similar(resource, text)]
    order = {resource.name: position for position, resource in enumerate(types)}
    hits.sort(key=lambda hit: (-hit["score"], order[hit["type"]], hit["title"], hit["id"]))
    return {"hits": hits[:limit], "counts": counts}


def _select_containing(resource: Resource, text: str, limit: int) -> tuple[int, list[Hit]]:
    """How many objects contain the text, and the best of them.

    These are selected among the first MAX_COUNT by id and those whose name is the text: ranking every match of a
    frequent text would read all of them.
    """
    table, projection = resource.model.__table__, projection_of(resource)
    label, folded = sa.func.fold(_label(resource)), fold(text)
    is_visible = visible(resource.model)
    containing = (
        sa.select(table.c.id)
        .where(matches(resource), *is_visible)
        .order_by(table.c.id)
        .limit(MAX_COUNT)
        .cte("containing")
    )
    named = sa.select(table.c.id).where(label == folded, *is_visible).limit(limit).subquery()
    count = sa.select(sa.func.count()).select_from(containing).scalar_subquery()
    rank = sa.case(
        (label == folded, 0),
        (label.like(escape_like(folded) + "%", escape="\\"), 1),
        (label.like(f"%{escape_like(folded)}%", escape="\\"), 2),
        else_=3,
    )
    candidates = sa.union(sa.select(containing.c.id), sa.select(named.c.id))
    statement = (
        projection.statement.add_columns(count)
        .where(table.c.id.in_(candidates))
        .order_by(rank, table.c.id)
        .limit(limit)
    )
    rows = read_rows(statement, search_values(text)).all()
    return (rows[0][-1] if rows else 0), [_rank(resource, projection.render(row), folded) for row in rows]


def _rank(resource: Resource, item: dict[str, Any], folded: str) -> Hit:
    name, value = _matching_field(resource, item, folded)
    return _hit(resource, item, name, value, _score(folded, fold(value), by_label=name == resource.model.label))


def _select_similar(resource: Resource, text: str) -> Iterator[Hit]:
    """Objects whose name shares a fragment with the text and resembles the whole of it.

    A wrong letter, or two letters in the wrong order, leave the other fragments intact; those the index finds.
    """
    table, projection = resource.model.__table__, projection_of(resource)
    folded, label = fold(text), sa.func.fold(_label(resource))
    fragments = _fragments(folded)
    contains = [label.like(f"%{escape_like(fragment)}%", escape="\\") for fragment in fragments]
    shared = sum((sa.case((condition, 1), else_=0) for condition in contains), start=sa.literal(0))
    difference = sa.func.abs(sa.func.length(label) - len(folded))
    shares_one = sa.or_(
        *(sa.and_(may_match(resource, part), condition) for part, condition in zip(fragments, contains, strict=True))
    )
    scanned = (
        sa.select(table.c.id, shared.label("shared"), difference.label("difference"))
        .where(shares_one, *visible(resource.model))
        .limit(FUZZY_SCAN_ROWS)
        .subquery()
    )
    closest = (
        sa.select(scanned.c.id)
        .order_by(scanned.c.shared.desc(), scanned.c.difference, scanned.c.id)
        .limit(FUZZY_CANDIDATES)
    )
    for row in read_rows(projection.statement.where(table.c.id.in_(closest))):
        item = projection.render(row)
        name = str(item[resource.model.label])
        similarity = difflib.SequenceMatcher(None, folded, fold(name)).ratio()
        if similarity >= MIN_SIMILARITY:
            # Halved: below every object that contains the text.
            yield _hit(resource, item, resource.model.label, name, similarity / 2)


def _fragments(text: str) -> list[str]:
    """The text in two or three parts of at least three letters, the shortest that the trigram index finds."""
    length = len(text)
    if length < 6:
        return [text[:3], text[-3:]]
    count = 2 if length < 9 else 3
    return [text[at * length // count : (at + 1) * length // count] for at in range(count)]


def _matching_field(resource: Resource, item: dict[str, Any], folded: str) -> tuple[str, str]:
    """The first field that contains the text, and its value: the object's name, then the others."""
    names = [resource.model.label, *(column.key for column in resource.search)]
    for name in names:
        if folded in fold(str(item[name] or "")):
            return name, str(item[name])
    for key, value in (item.get("attributes") or {}).items():
        if folded in fold(str(value)):
            return f"attributes.{key}", str(value)
    return resource.model.label, str(item[resource.model.label])


def _score(folded: str, value: str, *, by_label: bool) -> float:
    if value == folded:
        score = 1.0
    elif value.startswith(folded):
        score = 0.9
    else:
        score = 0.7
    # Of two values that contain the text, the shorter one ranks higher.
    share = len(folded) / max(len(value), 1)
    return round((score if by_label else score - 0.15) * (0.9 + 0.1 * share), 4)


def _hit(resource: Resource, item: dict[str, Any], name: str, value: str, score: float) -> Hit:
    parents = [item[name]["name"] for name in resource.references if name != "created_by" and item[name]]
    return {
        "type": resource.name,
        "id": item["id"],
        "title": str(item[resource.model.label]),
        "subtitle": " · ".join(map(str, parents)),
        "match": {"field": name, "value": value},
        "score": round(score, 4),
    }


def _label(resource: Resource) -> sa.ColumnElement[Any]:
    return resource.fields[resource.model.label].column
