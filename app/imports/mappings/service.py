"""Saved mappings: save, list, share and delete them; the pipeline learns them and finds those for an import."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Forbidden, Invalid, NotFound
from app.core.http.access import current_actor
from app.core.messages import tr
from app.core.values import utcnow
from app.imports.map.columns import Certainty, ColumnMapping, ColumnUse
from app.imports.map.table import Table
from app.imports.mappings.models import ImportMapping
from app.imports.models import Import
from app.imports.settings import OF_RESOURCE, SavedMapping, SheetSettings, read_settings
from app.users.models import User

MAX_MAPPINGS = 100
"""Saved mappings of one user."""

FORMATS = "import_formats"
"""The name of the application's known formats among its extensions."""

_OF_FILE = ("create_missing", "leave_out")
"""What a saved mapping holds besides the settings of its sheet."""

mappings = ImportMapping.__table__


class TooManyMappings(Conflict):
    reason, message = (
        "too_many_mappings",
        tr("A user can save at most {max} mappings: delete one first.", max=MAX_MAPPINGS),
    )


def visible_mappings() -> Sequence[tuple[ImportMapping, str]]:
    """The acting user's mappings and the shared ones by name, each with the name of its owner."""
    rows = db.session.execute(_of(current_actor().id).order_by(mappings.c.name, mappings.c.id))
    return [(mapping, owner) for mapping, owner in rows]


def find(name: str) -> ImportMapping | None:
    """The acting user's mapping of a name."""
    return db.session.scalar(
        sa.select(ImportMapping).where(ImportMapping.user_id == current_actor().id, ImportMapping.name == name)
    )


def change(mapping_id: int, values: Mapping[str, Any]) -> tuple[ImportMapping, str]:
    """Rename or share a mapping; raises NotFound, Forbidden, and Invalid where its owner has another of the name."""
    mapping, owner = _to_change(mapping_id)
    named = sa.select(mappings.c.id).where(
        mappings.c.user_id == mapping.user_id, mappings.c.name == values.get("name"), mappings.c.id != mapping_id
    )
    if db.session.scalar(named):
        raise Invalid(errors={"name": [tr("Another mapping has this name.", rule="unique")]})
    for name, value in values.items():
        setattr(mapping, name, value)
    return mapping, owner


def delete(mapping_id: int) -> None:
    """Delete a mapping; raises NotFound and Forbidden."""
    db.session.delete(_to_change(mapping_id)[0])


def save(name: str, mapping: dict[str, Any], import_id: int) -> None:
    """Save a mapping under a name, replacing one of the same name; the import's plan learns its sheets."""
    saved = find(name)
    if saved is None:
        if (db.session.scalar(_count_own()) or 0) >= MAX_MAPPINGS:
            raise TooManyMappings
        saved = ImportMapping(user_id=current_actor().id, name=name)
        db.session.add(saved)
    saved.mapping, saved.sheets, saved.import_id = mapping, [], import_id


def mappings_for(import_: Import) -> list[SavedMapping]:
    """The mappings that may apply to an import, own ones and the newest first; none where the upload has its own."""
    if import_.mapping:
        return []
    own_first = sa.case((mappings.c.user_id == import_.created_by_id, 0), else_=1)
    rows = db.session.execute(_of(import_.created_by_id).order_by(own_first, mappings.c.id.desc()))
    return [
        _read(mapping, sheet, None if mapping.user_id == import_.created_by_id else owner)
        for mapping, owner in rows
        for sheet in mapping.sheets
    ]


def known_formats() -> Sequence[SavedMapping]:
    """The known formats of the application, those of the operator's folder first."""
    formats: Sequence[SavedMapping] = current_app.extensions[FORMATS]
    return formats


def learn_sheets(import_: Import, tables: Sequence[Table]) -> None:
    """Store in the mappings that were saved with the import how its sheets are read, and which ones it used."""
    used = {table.saved_mapping.id for table in tables if table.saved_mapping and table.saved_mapping.id}
    if used:
        db.session.execute(sa.update(mappings).where(mappings.c.id.in_(used)).values(used_at=utcnow()))
    missing = read_settings(import_.settings).create_missing
    sheets = [sheet for table in tables if (sheet := _learnt(table, missing))]
    if not sheets:
        return
    columns = {title: target for sheet in sheets for title, target in sheet["columns"].items()}
    for saved in db.session.scalars(sa.select(ImportMapping).where(ImportMapping.import_id == import_.id)):
        saved.mapping, saved.sheets, saved.import_id = {**columns, **saved.mapping}, sheets, None


def _of(user_id: int | None) -> sa.Select[ImportMapping, str]:
    own = sa.select(ImportMapping, User.username).join(User, User.id == ImportMapping.user_id)
    return own.where(sa.or_(mappings.c.user_id == user_id, mappings.c.shared))


def _count_own() -> sa.Select[int]:
    return sa.select(sa.func.count()).where(mappings.c.user_id == current_actor().id)


def _to_change(mapping_id: int) -> tuple[ImportMapping, str]:
    """A mapping that the acting user sees and may change: it is theirs, or they are an administrator."""
    actor = current_actor()
    row = db.session.execute(_of(actor.id).where(mappings.c.id == mapping_id)).one_or_none()
    if row is None:
        raise NotFound(tr("There is no mapping {mapping_id}.", mapping_id=mapping_id))
    if row[0].user_id != actor.id and not actor.is_admin:
        raise Forbidden
    return row[0], row[1]


def _learnt(table: Table, create_missing: Sequence[str] | None) -> dict[str, Any] | None:
    """How a sheet is read, by its titles; None where nothing about it has been set, or no title tells it from others.

    It is known by the titles of all fields that it fills: by one alone, too many other sheets would be taken for it.
    `create_missing` is what the import sets.
    """
    by_title: dict[str, list[ColumnMapping]] = defaultdict(list)
    for column in table.columns:
        if column.index >= 0 and column.title != column.letters:
            by_title[column.title].append(column)
    columns = [same[0] for same in by_title.values() if len({column.index for column in same}) == 1]
    named = {column.title: column.full_target for column in columns if column.certainty is Certainty.SET}
    titles = sorted(named.keys() | {column.title for column in columns if column.use is ColumnUse.FIELD})
    settings = {name: value for name in OF_RESOURCE[1:] if (value := getattr(table.settings, name))}
    of_file = {"create_missing": create_missing} if create_missing else {}
    if table.saved_mapping:
        of_file = {name: value for name in _OF_FILE if (value := getattr(table.saved_mapping, name))} | of_file
    if not titles or not (named or settings or table.settings.resource):
        return None
    return {"resource": table.resource.name, "titles": titles, "columns": named, **settings, **of_file}


def _read(mapping: ImportMapping, sheet: Mapping[str, Any], shared_by: str | None) -> SavedMapping:
    settings = {name: sheet[name] for name in OF_RESOURCE[1:] if name in sheet}
    titles, columns = frozenset(sheet["titles"]), sheet["columns"]
    of_file = {name: sheet[name] for name in _OF_FILE if name in sheet}
    return SavedMapping(
        mapping.id, mapping.name, shared_by, sheet["resource"], titles, columns, SheetSettings(**settings), **of_file
    )
