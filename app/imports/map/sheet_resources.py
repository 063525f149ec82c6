"""The resource of a sheet, and the saved mapping or the known format by which it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from app.catalog import IMPORTABLE
from app.imports.map.headers import score
from app.imports.map.titles import title_key
from app.imports.models import ExtraColumns
from app.imports.settings import ImportSettings, SavedMapping, SheetSettings, find_saved
from app.resource import Resource
from app.sheets.cells import Value
from app.sheets.dates import DateOrder
from app.sheets.workbook import Sheet, Workbook

HEADER_ROWS = 20
"""First rows of a sheet among which the header is looked for."""
MIN_KNOWN_COLUMNS = 3
"""Known columns from which a sheet is recognised whose title names no resource."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """What is said about the sheets of a file, by its upload and since.

    Of the mappings in `saved` that know equally many titles of a sheet, the first one applies; of `formats` likewise,
    where no mapping does.
    """

    resource: Resource | None
    mapping: Mapping[str, Any]
    extra: ExtraColumns
    saved: Sequence[SavedMapping]
    formats: Sequence[SavedMapping]
    dates: DateOrder | None
    settings: ImportSettings


def sheets_left_out(workbook: Workbook, options: MapOptions) -> dict[str, str]:
    """The sheets that the format of another sheet leaves out, by their names, each with the name of the format."""
    names: dict[str, str] = {}
    for sheet in workbook.sheets:
        settings = options.settings.of(sheet.name)
        saved = find_mapping(sheet, resource_before_columns(sheet, options), settings, options)
        names |= dict.fromkeys(saved.leave_out, saved.name) if saved else {}
    return names


def resource_before_columns(sheet: Sheet, options: MapOptions) -> Resource | None:
    """The resource of a sheet as it is set, as its title names it, or as the upload says."""
    named = IMPORTABLE.get(options.settings.of(sheet.name).resource or "")
    return named or _resource_titled(sheet.name) or options.resource


def find_mapping(
    sheet: Sheet, resource: Resource | None, settings: SheetSettings, options: MapOptions
) -> SavedMapping | None:
    """The saved mapping for a sheet, else the known format that it has, unless they are refused."""
    saved = find_saved(first_rows(sheet), resource, options.saved) if settings.use_saved else None
    if saved is None and settings.use_format and options.settings.use_formats:
        saved = find_saved(first_rows(sheet), resource, options.formats)
    return saved


def _resource_titled(name: str) -> Resource | None:
    key = title_key(name)
    for resource in IMPORTABLE.values():
        if key in {title_key(title) for title in (resource.name, *resource.titles)}:
            return resource
    return None


def resource_of_columns(sheet: Sheet, mapping: Mapping[str, Any]) -> Resource | None:
    """The resource that clearly more columns of a sheet belong to than to any other."""
    rows = first_rows(sheet)
    scores = {
        name: max((score(row, resource, mapping) for row in rows), default=0) for name, resource in IMPORTABLE.items()
    }
    first, second = sorted(scores, key=lambda name: -scores[name])[:2]
    return IMPORTABLE[first] if scores[first] >= MIN_KNOWN_COLUMNS and scores[first] > scores[second] else None


def width(sheet: Sheet) -> int:
    return max(map(len, first_rows(sheet)), default=0)


def first_rows(sheet: Sheet) -> list[list[Value]]:
    return list(islice(sheet.rows(), HEADER_ROWS))
