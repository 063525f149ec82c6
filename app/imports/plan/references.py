"""What the names in a column of references mean: rows of the same file first, then stored objects."""

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.models import Entity
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.values import fold
from app.imports.parse.rows import Draft
from app.resource.fields import Field
from app.resource.visibility import visible

Named = Mapping[str, Sequence[Draft]]
"""The rows of the file that create or describe objects, by name in lower case."""

_QUALIFIED = re.compile(r"(.+) \[#(\d{1,18})\]")

MAX_SUGGESTIONS_FROM = 5000
"""Names among which a misspelt one is looked for: comparing it with all of a large fleet takes seconds."""


def resolve(item: Field, drafts: Sequence[Draft], in_file: Named) -> None:
    """Replace the names in a reference's cells by what they name: an id, or the draft of a new object."""
    assert item.target is not None
    name = item.name
    filled = [draft for draft in drafts if draft.values.get(name) is not None]
    called = {draft.values[name] for draft in filled}
    folded = {fold(one) for one in called}
    wanted = {*folded, *(found[1] for found in map(_QUALIFIED.fullmatch, folded) if found)}
    stored = _stored_names(item.target, wanted)
    # Names repeat down a column: each is looked up once.
    meanings = {one: _meaning(one, item, in_file, stored) for one in called}
    for draft in filled:
        meaning = meanings[draft.values[name]]
        if callable(meaning):
            meaning(draft)
        else:
            draft.values[name] = meaning


def _meaning(
    name: str, item: Field, in_file: Named, stored: Mapping[str, Sequence[int]]
) -> int | Draft | Callable[[Draft], None]:
    """What a name means, or what notes on a draft that it means nothing."""
    assert item.target is not None
    rows = in_file.get(fold(name), ())
    wrong = next((row for row in rows if row.errors), None)
    if wrong is not None:
        where = f"Row {wrong.row} of {wrong.table.sheet.name}"
        return _failing(item, "reference", f"{where}, which it refers to, has mistakes.")
    found = list({row.target: None for row in rows} or dict.fromkeys(_ids_of(fold(name), stored)))
    if len(found) == 1:
        return found[0]
    if found:
        return _failing(item, "ambiguous", f"There are {len(found)} objects called {name}.")
    message = f"There is no {item.title.lower()} called {name}."
    return _failing(item, "reference", message, _nearest(name, item.target, in_file))


def _failing(item: Field, rule: str, message: str, suggestion: str | None = None) -> Callable[[Draft], None]:
    return lambda draft: draft.fail(item.name, rule, message, suggestion)


def _stored_names(target: type[Entity], folded: set[str]) -> dict[str, list[int]]:
    """The ids of the stored objects that have one of these names, by name in lower case."""
    if not folded:
        return {}
    table = target.__table__
    name = sa.func.lower(table.c[target.label])
    found: dict[str, list[int]] = defaultdict(list)
    seen = sa.select(table.c.id, name).where(any_of(name, folded), *visible(target))
    for identity, label in db.session.execute(seen):
        found[label].append(identity)
    return found


def _ids_of(name: str, stored: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """The ids of the objects that a reference means, be it by name or, as an export writes it, by name and id."""
    if name in stored:
        return stored[name]
    found = _QUALIFIED.fullmatch(name)
    return [int(found[2])] if found and int(found[2]) in stored.get(found[1], ()) else []


def _nearest(name: str, target: type[Entity], in_file: Named) -> str | None:
    """The existing name that a wrong one probably misspells."""
    column = target.__table__.c[target.label]
    stored: Any = db.session.scalars(sa.select(column).where(*visible(target)).limit(MAX_SUGGESTIONS_FROM)).all()
    known = {fold(label): label for label in stored}
    for folded, drafts in list(in_file.items())[:MAX_SUGGESTIONS_FROM]:
        known[folded] = drafts[0].values[drafts[0].table.resource.model.label]
    near = difflib.get_close_matches(fold(name), list(known), n=1)
    return known[near[0]] if near else None
