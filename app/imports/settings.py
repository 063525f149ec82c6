"""What people have set about how a file is understood, or saved for sheets like it.

Everything else is guessed, anew at each plan.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.messages import Message, tr
from app.core.values import as_json, fold
from app.resource import Field, Resource
from app.sheets.cells import Value, column_index
from app.sheets.dates import DateOrder

IGNORE = "ignore"
"""The target of a column whose cells are left out."""
FILE_SETTINGS = ("create_missing", "constants", "use_formats", "sheets")
OF_RESOURCE = ("columns", "values", "units", "constants", "fallbacks", "match")
"""Settings of a sheet that name fields of its resource."""

Constant = str | int | float | bool


@dataclass(frozen=True, slots=True)
class SheetSettings:
    """What has been set about one sheet; None, or an empty value, leaves it to the guess.

    `columns` maps the letters of a column to its target, `values` a field to what its cells mean, `units` a field to
    the unit of its numbers where neither title nor cell names one, and `constants` a field to its value wherever a row
    has none. `fallbacks` maps a field to the one whose text a new object takes for it where a row has none. Targets
    are fields and `attributes.<name>`.
    """

    resource: str | None = None
    skip: bool = False
    header_row: int | None = None
    last_row: int | None = None
    dates: DateOrder | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Constant] = field(default_factory=dict)
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    match: Sequence[str] = ()
    skip_rows: Sequence[int] = ()
    use_saved: bool = True
    use_format: bool = True

    @property
    def targets(self) -> dict[int, str]:
        """The target of each column by its index from 0."""
        return {column_index(letters): target for letters, target in self.columns.items()}

    def over(self, saved: "SheetSettings") -> "SheetSettings":
        """These settings where they say something, else those that were saved for sheets like this one."""
        values = {target: {**saved.values.get(target, {}), **texts} for target, texts in self.values.items()}
        return replace(
            self,
            values={**saved.values, **values},
            units={**saved.units, **self.units},
            constants={**saved.constants, **self.constants},
            fallbacks={**saved.fallbacks, **self.fallbacks},
            match=self.match or saved.match,
        )


NOTHING_SET = SheetSettings()


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """What has been set about a file: its sheets by their names, and what holds for all of them.

    `create_missing` are the resources whose missing objects it creates; None leaves it to the known formats.
    """

    create_missing: Sequence[str] | None = None
    constants: Mapping[str, Constant] = field(default_factory=dict)
    use_formats: bool = True
    sheets: Mapping[str, SheetSettings] = field(default_factory=dict)

    def of(self, sheet: str) -> SheetSettings:
        return self.sheets.get(sheet, NOTHING_SET)


@dataclass(frozen=True, slots=True)
class SavedMapping:
    """How sheets with some titles are read: as a user has saved it, or as a known format says, which has no id.

    `shared_by` is the user who has saved it where that is somebody else. `leave_out` are the names of other sheets of
    the workbook that are not imported, because they hold the same objects in another way, or parts of them.
    """

    id: int | None
    name: str
    shared_by: str | None
    resource: str
    titles: frozenset[str]
    columns: Mapping[str, str | None]
    settings: SheetSettings
    create_missing: Sequence[str] = ()
    leave_out: Sequence[str] = ()

    def columns_of(self, first_rows: Iterable[Sequence[Value]]) -> dict[str, str | None]:
        """The targets of its columns by their titles, as it spells them and as the sheet does: in capitals, too."""
        spelt = {cell.strip() for row in first_rows for cell in row if isinstance(cell, str)}
        exact = {fold_title(title) for title in spelt & self.columns.keys()}
        targets = {fold_title(title): target for title, target in self.columns.items()}
        folded = {title: key for title in spelt if (key := fold_title(title)) in targets and key not in exact}
        return {**self.columns, **{title: targets[key] for title, key in folded.items()}}

    @property
    def note(self) -> Message:
        if self.id is None:
            return tr(
                "This sheet is read as a known format: {name}. With use_format=false only its titles count.",
                rule="known_format",
                name=self.name,
            )
        if self.shared_by is None:
            return tr("This sheet is read as you saved it under the name {name}.", rule="saved_mapping", name=self.name)
        return tr(
            "This sheet is read as {user} saved it under the name {name}.",
            rule="saved_mapping",
            user=self.shared_by,
            name=self.name,
        )


def read_settings(stored: Mapping[str, Any]) -> ImportSettings:
    """The settings of an import, from their JSON."""
    sheets = {name: _read_sheet(**settings) for name, settings in stored.get("sheets", {}).items()}
    return ImportSettings(**{**stored, "sheets": sheets})


def merge_settings(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Settings after a change, as a JSON Merge Patch (RFC 7396): objects merge, null removes, all else replaces.

    Of a sheet whose resource changes, settings that name fields of the former one are removed.
    """
    merged = dict(stored)
    for name, sheet in (patch.get("sheets") or {}).items():
        before = stored.get("sheets", {}).get(name, {})
        if sheet and sheet.get("resource", before.get("resource")) != before.get("resource"):
            remaining = {key: value for key, value in before.items() if key not in OF_RESOURCE}
            merged["sheets"] = {**merged.get("sheets", {}), name: remaining}
    return _merged(merged, patch)


def find_field(resource: Resource, name: str) -> Field | None:
    """The field of a name, either of those of a reference: `datacenter_id` or `datacenter`."""
    return resource.fields.get(name) or resource.references.get(name)


def fold_title(title: object) -> str:
    """A title as saved mappings and known formats compare it."""
    return fold(str(title).strip())


def find_saved(
    first_rows: Iterable[Sequence[Value]], resource: Resource | None, saved: Sequence[SavedMapping]
) -> SavedMapping | None:
    """The mapping that knows most titles, of those whose titles are all in one row or in two that are merged."""
    fitting = [mapping for mapping in saved if resource is None or mapping.resource == resource.name]
    if not fitting:
        return None
    rows = [{fold_title(cell) for cell in row if cell not in (None, "")} for row in first_rows]
    headers = [row | above for row, above in zip(rows, [set(), *rows], strict=False)]
    titles = [frozenset(map(fold_title, mapping.titles)) for mapping in fitting]
    matching = [
        mapping for mapping, own in zip(fitting, titles, strict=True) if any(own <= header for header in headers)
    ]
    return max(matching, key=lambda mapping: len(mapping.titles), default=None)


def _read_sheet(dates: str | None = None, **settings: Any) -> SheetSettings:
    return SheetSettings(dates=None if dates is None else DateOrder(dates), **settings)


def _merged(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(stored)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = as_json(value)
    return merged
