"""Finding objects of every resource by a text: exact before beginning before anywhere, then probable typos."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.database import db, fold
from app.resource import Resource
from app.resource.filters import escape_like
from app.resource.projection import projection_of
from app.resource.query import ListQuery, Matching, count_matching, matches, search_pattern
from app.resource.visibility import visible

SIMILAR = 0.6
"""How alike a text must be to be taken for a misspelling of another, from 0 to 1."""
CANDIDATES = 200
"""Objects of one resource that are compared with a text that nothing contains."""
MIN_FUZZY = 4
"""Characters that a text must have before typos are forgiven in it."""

Hit = dict[str, Any]


def search(text: str, types: Sequence[Resource], limit: int) -> dict[str, Any]:
    """The best hits of all resources, best first, and how many there are of each.

    The number of statements depends on the number of resources alone.
    """
    counts = {resource.name: _count(resource, text) for resource in types}
    if any(counts.values()):
        hits = [hit for resource in types if counts[resource.name] for hit in _containing(resource, text, limit)]
    elif len(text) >= MIN_FUZZY:
        hits = [hit for resource in types for hit in _resembling(resource, text)]
    else:
        hits = []
    order = {resource.name: place for place, resource in enumerate(types)}
    hits.sort(key=lambda hit: (-hit["score"], order[hit["type"]], hit["title"], hit["id"]))
    return {"hits": hits[:limit], "counts": counts}


def _count(resource: Resource, text: str) -> int:
    query = ListQuery(matching=Matching(searched=True), values={"q": search_pattern(text)})
    return count_matching(resource, query)


def _containing(resource: Resource, text: str, limit: int) -> Iterator[Hit]:
    projection = projection_of(resource)
    label = sa.func.lower(_label(resource))
    folded = fold(text)
    rank = sa.case(
        (label == folded, 0),
        (label.like(escape_like(folded) + "%", escape="\\"), 1),
        (label.like(search_pattern(text), escape="\\"), 2),
        else_=3,
    )
    found = projection.statement.where(matches(resource), *visible(resource.model))
    statement = found.order_by(rank, resource.model.__table__.c.id).limit(limit)
    for row in db.session.execute(statement, {"q": search_pattern(text)}):
        item = projection.render(row)
        name, value = _where(resource, item, folded)
        yield _hit(resource, item, name, value, _score(folded, fold(value), by_label=name == resource.model.label))


def _resembling(resource: Resource, text: str) -> Iterator[Hit]:
    """Objects whose name shares many runs of three letters with the text, if it is alike as a whole."""
    folded = fold(text)
    label = sa.func.lower(_label(resource))
    runs = {folded[at : at + 3] for at in range(len(folded) - 2)}
    contained = [label.like(f"%{escape_like(run)}%", escape="\\") for run in sorted(runs)]
    shared = sum((sa.case((found, 1), else_=0) for found in contained), start=sa.literal(0))
    projection = projection_of(resource)
    statement = (
        projection.statement.where(sa.or_(*contained), *visible(resource.model))
        .order_by(shared.desc(), resource.model.__table__.c.id)
        .limit(CANDIDATES)
    )
    for row in db.session.execute(statement):
        item = projection.render(row)
        name = str(item[resource.model.label])
        alike = difflib.SequenceMatcher(None, folded, fold(name)).ratio()
        if alike >= SIMILAR:
            # A misspelling is never as good as the text itself.
            yield _hit(resource, item, resource.model.label, name, alike / 2)


def _where(resource: Resource, item: dict[str, Any], folded: str) -> tuple[str, str]:
    """The field in which the text was found, and its value: the object's name first."""
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
    # Of two that contain the text, the one that is little else is the better.
    closeness = len(folded) / max(len(value), 1)
    return round((score if by_label else score - 0.15) * (0.9 + 0.1 * closeness), 4)


def _hit(resource: Resource, item: dict[str, Any], name: str, value: str, score: float) -> Hit:
    above = [item[name]["name"] for name in resource.references if name != "created_by" and item[name]]
    return {
        "type": resource.name,
        "id": item["id"],
        "title": str(item[resource.model.label]),
        "subtitle": " · ".join(str(part) for part in above),
        "match": {"field": name, "value": value},
        "score": round(score, 4),
    }


def _label(resource: Resource) -> sa.ColumnElement[Any]:
    return resource.fields[resource.model.label].column
