"""Finding objects of every resource by a text: exact before beginning before anywhere, then probable typos."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import read_rows
from app.core.values import fold
from app.resource import Resource
from app.resource.projection import projection_of
from app.resource.query.filters import escape_like
from app.resource.query.text_search import matches, near, search_values
from app.resource.visibility import visible

SIMILAR = 0.6
"""How alike a text must be to be taken for a misspelling of another, from 0 to 1."""
CANDIDATES = 200
"""Objects of one resource that are compared with a text that nothing contains."""
COMPARED = 10_000
"""Objects of one resource that share a piece with it, among which those are chosen."""
COUNTED = 1000
"""Objects of one resource that are counted, and among which the best are chosen."""
MIN_FUZZY = 4
"""Characters that a text must have before typos are forgiven in it."""

Hit = dict[str, Any]


def search(text: str, types: Sequence[Resource], limit: int) -> dict[str, Any]:
    """The best hits of all resources, best first, and how many there are of each, up to COUNTED.

    The number of statements depends on the number of resources alone.
    """
    found = {resource.name: _containing(resource, text, limit) for resource in types}
    counts = {name: number for name, (number, _) in found.items()}
    hits = [hit for _, best in found.values() for hit in best]
    if not hits and len(text) >= MIN_FUZZY:
        hits = [hit for resource in types for hit in _resembling(resource, text)]
    order = {resource.name: place for place, resource in enumerate(types)}
    hits.sort(key=lambda hit: (-hit["score"], order[hit["type"]], hit["title"], hit["id"]))
    return {"hits": hits[:limit], "counts": counts}


def _containing(resource: Resource, text: str, limit: int) -> tuple[int, list[Hit]]:
    """How many objects contain the text, and the best of them.

    They are chosen among the first COUNTED and those whose name it is: of what so many contain, nobody looks for
    the last.
    """
    table, projection = resource.model.__table__, projection_of(resource)
    label, folded = sa.func.lower(_label(resource)), fold(text)
    seen = visible(resource.model)
    found = sa.select(table.c.id).where(matches(resource), *seen).order_by(table.c.id).limit(COUNTED).cte("found")
    named = sa.select(table.c.id).where(label == folded, *seen).limit(limit).subquery()
    number = sa.select(sa.func.count()).select_from(found).scalar_subquery()
    rank = sa.case(
        (label == folded, 0),
        (label.like(escape_like(folded) + "%", escape="\\"), 1),
        (label.like(f"%{escape_like(folded)}%", escape="\\"), 2),
        else_=3,
    )
    candidates = sa.union(sa.select(found.c.id), sa.select(named.c.id))
    statement = (
        projection.statement.add_columns(number)
        .where(table.c.id.in_(candidates))
        .order_by(rank, table.c.id)
        .limit(limit)
    )
    rows = read_rows(statement, search_values(text)).all()
    return (rows[0][-1] if rows else 0), [_found(resource, projection.render(row), folded) for row in rows]


def _found(resource: Resource, item: dict[str, Any], folded: str) -> Hit:
    name, value = _where(resource, item, folded)
    return _hit(resource, item, name, value, _score(folded, fold(value), by_label=name == resource.model.label))


def _resembling(resource: Resource, text: str) -> Iterator[Hit]:
    """Objects whose name has a piece of the text and is alike as a whole.

    Whoever mistypes a letter, or two in the wrong order, gets the other pieces right.
    """
    table, projection = resource.model.__table__, projection_of(resource)
    folded, label = fold(text), sa.func.lower(_label(resource))
    pieces = _pieces(folded)
    named = [label.like(f"%{escape_like(piece)}%", escape="\\") for piece in pieces]
    shared = sum((sa.case((has, 1), else_=0) for has in named), start=sa.literal(0))
    further = sa.func.abs(sa.func.length(label) - len(folded))
    within = sa.or_(*(sa.and_(near(resource, piece), has) for piece, has in zip(pieces, named, strict=True)))
    some = sa.select(table.c.id, shared.label("shared"), further.label("further")).where(
        within, *visible(resource.model)
    )
    few = some.limit(COMPARED).subquery()
    likeliest = sa.select(few.c.id).order_by(few.c.shared.desc(), few.c.further, few.c.id).limit(CANDIDATES)
    for row in read_rows(projection.statement.where(table.c.id.in_(likeliest))):
        item = projection.render(row)
        name = str(item[resource.model.label])
        alike = difflib.SequenceMatcher(None, folded, fold(name)).ratio()
        if alike >= SIMILAR:
            # A misspelling is never as good as the text itself.
            yield _hit(resource, item, resource.model.label, name, alike / 2)


def _pieces(text: str) -> list[str]:
    """The text in two or three pieces that the index can find: of three letters at least."""
    length = len(text)
    if length < 6:
        return [text[:3], text[-3:]]
    count = 2 if length < 9 else 3
    return [text[at * length // count : (at + 1) * length // count] for at in range(count)]


def _where(resource: Resource, item: dict[str, Any], folded: str) -> tuple[str, str]:
    """The field in which the text was found, and its value: the object's name first."""
    names = [resource.model.label, *(column.key for column in resource.search)]
    for name in names:
        if folded in str(item[name] or "").lower():
            return name, str(item[name])
    for key, value in (item.get("attributes") or {}).items():
        if folded in str(value).lower():
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
