"""Resolve the names of objects in cells: rows of the same file come first, then stored objects.

Fields of references are resolved to ids. In attribute columns such as `VM Host`, whose title and nearly all cells
name objects of one resource, the cells that name none are errors.
"""

import difflib
import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.catalog import IMPORTABLE
from app.core.audit.installation import installation
from app.core.db.models import Entity
from app.core.db.statements import any_of, fetch_rows
from app.core.db.unit_of_work import db
from app.core.messages import tr
from app.core.values import fold
from app.imports.map.columns import ColumnMapping, ColumnUse
from app.imports.map.misspellings import edit_distance
from app.imports.map.titles import title_key, without_marks
from app.imports.parse.rows import ParsedRow, ParsedTable
from app.imports.plan.missing import MissingObjects
from app.resource import Field, Resource, singular
from app.resource.rows import visible
from app.sheets.cells import CellError
from app.sheets.reserved_titles import IDENTITY

RowsByName = Mapping[str, Sequence[ParsedRow]]
"""The rows of the file that create or describe objects, by the folded name of their object."""

MIN_CELLS = 10
"""Filled cells from which an attribute column is checked for the names of objects."""
MIN_SHARE = 0.9
"""Part of them that must name an object: then the others are errors, else the column is no reference."""
MAX_COMPARED = 5000
"""Names that a misspelt one is compared with: all names of a large fleet would take seconds."""
MAX_SUGGESTIONS = 20

_NAME_AND_ID = re.compile(r"(.+) \[#(\d{1,18})\]")


def resolve_references(
    item: Field, rows: Sequence[ParsedRow], in_file: RowsByName, missing: MissingObjects | None
) -> None:
    """Replace the names in a reference by the id of the stored object, or by the row that creates it.

    `missing` creates the objects that are neither stored nor in the file; None leaves them errors.
    """
    assert item.target is not None
    name = item.name
    filled = [row for row in rows if row.values.get(name) is not None]
    names = {row.values[name] for row in filled}
    folded = {fold(one) for one in names}
    stored = stored_ids(item.target, {*folded, *(match[1] for match in map(_NAME_AND_ID.fullmatch, folded) if match)})
    # Names repeat down a column: each is resolved once.
    targets = {one: _resolve(one, item, in_file, stored, create=missing is not None) for one in names}
    for row in filled:
        text = row.values[name]
        if targets[text] is None and missing is not None:
            targets[text] = missing.create(text, row.number)
        target = targets[text]
        if isinstance(target, CellError):
            row.add_error(name, target.rule, target.message, target.suggestion)
        else:
            row.values[name] = target


def forget_foreign_ids(parsed: ParsedTable) -> None:
    """Forget the ids and versions in rows that another installation has exported: they are of other objects."""
    table = parsed.table
    if all(column.use is not ColumnUse.INSTALLATION for column in table.columns):
        return
    own_installation = installation()
    foreign = [row for row in parsed.rows if row.exported_by not in (None, own_installation)]
    names = [item.name for item in table.resource.references.values()]
    for row in foreign:
        row.exported_id = row.exported_version = None
        for name in names:
            match = _NAME_AND_ID.fullmatch(row.reference_names.get(name, ""))
            if match:
                row.values[name] = match[1]
                row.reference_names = {**row.reference_names, name: match[1]}
    if foreign:
        note = tr(
            "Rows exported by another installation, whose {column} does not count: {count}.",
            rule="foreign_ids",
            column=IDENTITY,
            count=len(foreign),
        )
        table.notes.append(note)


def check_attribute_references(tables: Sequence[ParsedTable], rows_named: Callable[[str], RowsByName]) -> None:
    """Add an error to each cell that names no object, in attribute columns that name objects.

    `rows_named` returns the rows of the tables planned before, given the name of their resource.
    """
    for parsed in tables:
        for column in parsed.table.columns:
            target = _resource_named_by(column.title) if column.use is ColumnUse.ATTRIBUTE else None
            if target is not None:
                in_file = {*rows_named(target.name), *_names_in(tables, target)}
                _check_column(column, parsed.rows, target, in_file)


def _resolve(name: str, item: Field, in_file: RowsByName, stored: Mapping[str, Sequence[int]], *, create: bool) -> Any:
    """The id or the row that a name refers to, or the error of its cells; None where its object is to be created."""
    assert item.target is not None
    rows = in_file.get(fold(name), ())
    invalid = next((row for row in rows if row.errors), None)
    if invalid is not None:
        message = tr(
            "It refers to row {row} of {sheet}, which has errors.", row=invalid.number, sheet=invalid.table.sheet.name
        )
        return CellError("reference", message)
    targets = list({row.target: None for row in rows} or dict.fromkeys(_ids_of(fold(name), stored)))
    if len(targets) == 1:
        return targets[0]
    if targets:
        message = tr(
            "{count} objects are called {name}: write its id behind the name, as in {name} [#1].",
            count=len(targets),
            name=name,
        )
        return CellError("ambiguous", message)
    if create and not _NAME_AND_ID.fullmatch(name):
        return None
    message = tr(
        "There is no {what} called {name}: correct the name, or create it, for instance with the import.",
        what=item.term,
        name=name,
    )
    return CellError("reference", message, _closest_name(name, item.target, in_file))


def stored_ids(target: type[Entity], folded: set[str]) -> dict[str, list[int]]:
    """The ids of the stored objects that have one of these names, by folded name."""
    if not folded:
        return {}
    name = sa.func.fold(target.__table__.c[target.label])
    ids: dict[str, list[int]] = defaultdict(list)
    statement = sa.select(target.__table__.c.id, name).where(any_of(name, folded), *visible(target))
    for identity, label in fetch_rows(statement):
        ids[label].append(identity)
    return ids


def _ids_of(name: str, stored: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """The ids of the objects of a name, or of a name with its id as an export writes it."""
    if name in stored:
        return stored[name]
    match = _NAME_AND_ID.fullmatch(name)
    return [int(match[2])] if match and int(match[2]) in stored.get(match[1], ()) else []


def _closest_name(name: str, target: type[Entity], in_file: RowsByName) -> str | None:
    """The existing name that a wrong one probably misspells."""
    column = target.__table__.c[target.label]
    labels: Any = db.session.scalars(sa.select(column).where(*visible(target)).limit(MAX_COMPARED)).all()
    candidates = {fold(label): label for label in labels}
    for folded, rows in list(in_file.items())[:MAX_COMPARED]:
        candidates[folded] = rows[0].values[target.label]
    closest = difflib.get_close_matches(fold(name), list(candidates), n=1)
    return candidates[closest[0]] if closest else None


@functools.lru_cache(maxsize=512)
def _resource_named_by(title: str) -> Resource | None:
    """The resource whose name ends a title: `VM Host`, `Backup server`, `宿主机`."""
    key = title_key(without_marks(title))
    return next((resource for ending, resource in _title_endings() if key.endswith(ending)), None)


@functools.cache
def _title_endings() -> Sequence[tuple[str, Resource]]:
    """The words for one object of a resource that no other resource uses."""
    words: dict[str, set[str]] = {}
    for name, resource in IMPORTABLE.items():
        aliases = resource.fields[resource.model.label].aliases
        words[name] = {title_key(word) for word in (singular(resource), *resource.titles[1:], *aliases)}
    uses = Counter(word for own in words.values() for word in own)
    return [(word, IMPORTABLE[name]) for name, own in words.items() for word in sorted(own) if uses[word] == 1]


def _names_in(tables: Sequence[ParsedTable], target: Resource) -> set[str]:
    label = target.model.label
    return {
        fold(row.values[label])
        for parsed in tables
        if parsed.table.resource is target
        for row in parsed.rows
        if isinstance(row.values.get(label), str)
    }


def _check_column(column: ColumnMapping, rows: Sequence[ParsedRow], target: Resource, in_file: set[str]) -> None:
    assert column.attribute is not None
    values = [(row, row.attributes.get(column.attribute)) for row in rows]
    cells = [(row, value) for row, value in values if isinstance(value, str)]
    names = {fold(text) for _, text in cells} - in_file
    if len(cells) < MIN_CELLS or not names:
        return
    missing = names - stored_ids(target.model, names).keys()
    unresolved = [(row, text) for row, text in cells if fold(text) in missing]
    if len(cells) - len(unresolved) < MIN_SHARE * len(cells):
        return
    suggestions = {name: _one_typo_from(name, in_file) for name in sorted(missing)[:MAX_SUGGESTIONS]}
    what = singular(target)
    for row, text in unresolved:
        message = tr(
            "There is no {what} called {name}; nearly all other cells of {column} name one: correct the name.",
            what=what,
            name=text,
            column=column.title,
        )
        row.add_cell_error(column, text, CellError("reference", message, suggestions.get(fold(text))))


def _one_typo_from(name: str, names: set[str]) -> str | None:
    """A name that differs by one typo; two would match another machine, as their names are similar by nature."""
    return next((other for other in sorted(names)[:MAX_COMPARED] if edit_distance(name, other, 1) <= 1), None)
