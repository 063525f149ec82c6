"""Columns that are nobody's field and name objects all the same, such as the `VM Host` of a server."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from app.catalog import IMPORTABLE
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.values import fold
from app.imports.map.tables import Column, Use
from app.imports.map.titles import key_of, slips, without_marks
from app.imports.parse.rows import Draft
from app.imports.plan.merge_rows import Planned
from app.resource.declaration import Resource
from app.resource.service import singular
from app.resource.visibility import visible
from app.sheets.cell_text import CellError

FEWEST_CELLS = 10
"""Filled cells from which a column says that it names objects."""
SHARE = 0.9
"""Part of them that must name one: the others are mistakes then, and else it names something of its own."""
MOST_COMPARED = 5000
MOST_ADVISED = 20
MOST_SLIPS = 1

Named = Callable[[str], Mapping[str, Sequence[Draft]]]


def check_mentions(planned: Sequence[Planned], named: Named) -> None:
    """Note a mistake in each cell that names nothing, in columns of which the title and nearly all cells name objects.

    `named` has the rows of the sheets before, given a resource's name, by their own; the planned ones count too.
    """
    for table, drafts in planned:
        for column in table.columns:
            target = _meant(column.title) if column.use is Use.ATTRIBUTE else None
            if target is not None:
                in_file = {*named(target.name), *_names_of(planned, target)}
                _check(column, drafts, target, in_file)


@functools.lru_cache(maxsize=512)
def _meant(title: str) -> Resource | None:
    """The resource by whose name a title ends: `VM Host`, `Backup server`, `宿主机`."""
    key = key_of(without_marks(title))
    return next((resource for spelling, resource in _endings() if key.endswith(spelling)), None)


@functools.cache
def _endings() -> Sequence[tuple[str, Resource]]:
    """What people call one object, as far as it is no word for objects of other kinds too."""
    called = {
        name: {key_of(singular(resource)), *map(key_of, resource.titles[1:]), *map(key_of, _aliases(resource))}
        for name, resource in IMPORTABLE.items()
    }
    uses = Counter(spelling for spellings in called.values() for spelling in spellings)
    return [
        (spelling, IMPORTABLE[name])
        for name, spellings in called.items()
        for spelling in sorted(spellings)
        if uses[spelling] == 1
    ]


def _aliases(resource: Resource) -> Sequence[str]:
    return resource.fields[resource.model.label].aliases


def _names_of(planned: Sequence[Planned], target: Resource) -> set[str]:
    label = target.model.label
    return {
        fold(draft.values[label])
        for table, drafts in planned
        if table.resource is target
        for draft in drafts
        if isinstance(draft.values.get(label), str)
    }


def _check(column: Column, drafts: Sequence[Draft], target: Resource, in_file: set[str]) -> None:
    assert column.attribute is not None
    said = [(draft, draft.attributes.get(column.attribute)) for draft in drafts]
    cells = [(draft, text) for draft, text in said if isinstance(text, str)]
    wanted = {fold(text) for _, text in cells} - in_file
    if len(cells) < FEWEST_CELLS or not wanted:
        return
    missing = wanted - _stored(target, wanted)
    wrong = [(draft, text) for draft, text in cells if fold(text) in missing]
    if len(cells) - len(wrong) < SHARE * len(cells):
        return
    advice = {name: _misspelt(name, in_file) for name in sorted(missing)[:MOST_ADVISED]}
    for draft, text in wrong:
        message = f"There is no {singular(target)} called {text}, and nearly all cells of {column.title} name one."
        draft.fail_cell(column, text, CellError("reference", message, advice.get(fold(text))))


def _misspelt(name: str, known: set[str]) -> str | None:
    """The name that another is but for one slip of the pen: names of machines are alike by nature."""
    return next(
        (other for other in sorted(known)[:MOST_COMPARED] if slips(name, other, MOST_SLIPS) <= MOST_SLIPS), None
    )


def _stored(target: Resource, folded: set[str]) -> set[str]:
    name = sa.func.lower(target.model.__table__.c[target.model.label])
    return set(db.session.scalars(sa.select(name).where(any_of(name, folded), *visible(target.model))))
