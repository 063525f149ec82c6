"""Map each column of a table to a field, to an attribute or to nothing, by its title.

Titles are matched by label, field name or alias in any spelling; a unit beside them scales the column's numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from app.core.messages import Message, tr
from app.imports.map.titles import (
    FIRST_ALIAS,
    TitleMatch,
    attribute_key,
    match_title,
    misspelt_field,
    title_key,
    title_scale,
    without_marks,
)
from app.imports.models import ExtraColumns
from app.imports.settings import IGNORE, SheetSettings, find_field
from app.resource import Field, Resource, plural
from app.sheets.cells import Value, letters
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX, IDENTITY, INSTALLATION, STATUS, VERSION


class ColumnUse(Enum):
    """What the import does with the cells of a column."""

    FIELD = "field"
    IDENTITY = "identity"
    VERSION = "version"
    INSTALLATION = "installation"
    STATUS = "status"
    ATTRIBUTE = "attribute"
    CONSTANT = "constant"
    IGNORED = "ignored"


class Certainty(Enum):
    """How sure it is what a column holds: set, its very title, an alias or a guess, or nothing known."""

    SET = "set"
    EXACT = "exact"
    LIKELY = "likely"
    NONE = "none"


SYSTEM_COLUMNS = {
    IDENTITY: (ColumnUse.IDENTITY, "id"),
    VERSION: (ColumnUse.VERSION, "version"),
    INSTALLATION: (ColumnUse.INSTALLATION, None),
    STATUS: (ColumnUse.STATUS, None),
}
"""Columns that exports and reports add: the object of a row, its version at the export and whose they are, and the
row's status."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What one column of a sheet fills; `scale` converts its numbers to the unit of the field.

    A constant fills a field of all rows and has no column of the sheet: its index is -1.
    """

    index: int
    title: str
    use: ColumnUse
    field: Field | None = None
    attribute: str | None = None
    scale: float = 1.0
    certainty: Certainty = Certainty.NONE

    @property
    def target(self) -> str | None:
        """The name of the field or the attribute that the column fills."""
        return self.field.name if self.field else self.attribute

    @property
    def full_target(self) -> str | None:
        """Its target as the settings name it: an attribute with its prefix."""
        return self.target if self.attribute is None else f"{ATTRIBUTE_PREFIX}{self.attribute}"

    @property
    def letters(self) -> str | None:
        """The column's letters in the spreadsheet; None for a constant."""
        return None if self.index < 0 else letters(self.index)

    def cell(self, row: int) -> str | None:
        """The address of the column's cell in a row, as the spreadsheet shows it; None for a constant."""
        return None if self.index < 0 else f"{letters(self.index)}{row}"


@dataclass(slots=True)
class HeaderMapping:
    """The columns of a table by their titles. Errors refuse the table, notes say what was decided."""

    columns: list[ColumnMapping] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)


def map_columns(
    resource: Resource,
    header: Sequence[Value],
    mapping: Mapping[str, Any],
    extra: ExtraColumns,
    settings: SheetSettings,
) -> HeaderMapping:
    """Decide what each column fills that has a title or is set; of two for one field, the better match fills it."""
    titles = {index: str(value).strip() for index, value in enumerate(header) if value not in (None, "")}
    # What is set for a column goes before what its title is mapped to.
    set_targets = set(settings.columns.values()) - {IGNORE}
    named = {index: mapping[title] or IGNORE for index, title in titles.items() if title in mapping}
    targets = {index: target for index, target in named.items() if target not in set_targets} | settings.targets
    titles |= {index: letters(index) for index in targets if index not in titles}
    mapper = _HeaderMapper(resource, targets, extra)
    mapped = mapper.map(dict(sorted(titles.items())))
    for name in settings.constants:
        if (column := target_column(resource, -1, "", ColumnUse.CONSTANT, name)) is not None:
            mapped.columns.append(column)
    return mapped


def target_column(resource: Resource, index: int, title: str, use: ColumnUse, target: str) -> ColumnMapping | None:
    """The column that fills a target: a field, or an attribute of any name; None where there is no such field."""
    if target.startswith(ATTRIBUTE_PREFIX) and "attributes" in resource.fields:
        use = ColumnUse.ATTRIBUTE if use is ColumnUse.FIELD else use
        return ColumnMapping(
            index, title, use, attribute=target.removeprefix(ATTRIBUTE_PREFIX), certainty=Certainty.SET
        )
    item = find_field(resource, target)
    if item is None:
        return None
    return ColumnMapping(index, title, use, item, scale=title_scale(title, item), certainty=Certainty.SET)


def mapping_error(rule: str, message: Message, **details: Any) -> dict[str, Any]:
    """An error or a warning of a table as a whole, as the API shows it."""
    return {"rule": rule, "message": message, **details}


@dataclass(slots=True)
class _HeaderMapper:
    resource: Resource
    targets: Mapping[int, str]
    extra: ExtraColumns
    result: HeaderMapping = field(default_factory=HeaderMapping)

    def map(self, titles: Mapping[int, str]) -> HeaderMapping:
        matches: dict[int, TitleMatch] = {}
        for index, title in titles.items():
            match = self._mapped(index, title) if index in self.targets else match_title(title, self.resource)
            if match is not None:
                matches[index] = match
        best: dict[Field, int] = {}
        for index, match in matches.items():
            if match.field not in best or match.rank < matches[best[match.field]].rank:
                best[match.field] = index
        for index, title in titles.items():
            column = self._system_column(index, title) or self._field_column(index, title, matches.get(index), best)
            self.result.columns.append(column or self._extra_column(index, title))
        self._fill_missing_name()
        return self.result

    def _mapped(self, index: int, title: str) -> TitleMatch | None:
        """The field that has been set for a column."""
        name = self.targets[index]
        column = target_column(self.resource, index, title, ColumnUse.FIELD, name)
        if name != IGNORE and column is None:
            message = tr(
                "The mapping of {title} names {name}, which is not a field of {resource}.",
                title=title,
                name=name,
                resource=plural(self.resource),
            )
            self.result.errors.append(mapping_error("unknown_field", message))
        return TitleMatch(-1, column.field, column.scale) if column is not None and column.field else None

    def _system_column(self, index: int, title: str) -> ColumnMapping | None:
        """A column that needs no comparison: ignored, an attribute, or of an export or a report."""
        target = self.targets.get(index)
        if target == IGNORE:
            return ColumnMapping(index, title, ColumnUse.IGNORED, certainty=Certainty.SET)
        if title in SYSTEM_COLUMNS and target is None:
            use, name = SYSTEM_COLUMNS[title]
            item = self.resource.fields[name] if name else None
            return ColumnMapping(index, title, use, item, certainty=Certainty.EXACT)
        named = target or title
        if named.startswith(ATTRIBUTE_PREFIX):
            column = target_column(self.resource, index, title, ColumnUse.FIELD, named)
            return column if column is None or target else replace(column, certainty=Certainty.EXACT)
        return None

    def _field_column(
        self, index: int, title: str, match: TitleMatch | None, best: dict[Field, int]
    ) -> ColumnMapping | None:
        match = match or self._check_unknown_title(index, title, best)
        if match is None:
            return None
        if match.field.read_only:
            self.result.notes.append(
                tr("Column {title} is ignored: only the platform sets this field.", rule="read_only", title=title)
            )
            return ColumnMapping(index, title, ColumnUse.IGNORED, match.field, certainty=Certainty.EXACT)
        if best[match.field] != index:
            self.result.notes.append(
                tr(
                    "Column {title} does not fill {field}: another column does.",
                    rule="field_taken",
                    title=title,
                    field=match.field.heading,
                )
            )
            return None
        return ColumnMapping(
            index, title, ColumnUse.FIELD, match.field, scale=match.scale, certainty=_certainty(match.rank)
        )

    def _check_unknown_title(self, index: int, title: str, best: dict[Field, int]) -> TitleMatch | None:
        """The field of a title with one typo; a warning of any misspelling, an error with `extra=refuse`."""
        where = {"column": letters(index), "title": title}
        named = {**where, "resource": plural(self.resource)}
        misspelt = misspelt_field(title, self.resource, best)
        if misspelt is not None and misspelt.sure:
            best[misspelt.field] = index
            message = tr(
                "Column {column}: {title} is not a field of {resource}. It is read as {field}: map it to another field "
                "if that is wrong.",
                **named,
                field=misspelt.field.heading,
            )
        elif self.extra is ExtraColumns.REFUSE:
            message = tr(
                "Column {column}: {title} is not a field of {resource}. Remove the column, or say in the mapping what "
                "it holds.",
                **named,
            )
            self.result.errors.append(mapping_error("unknown_column", message, **where))
            return None
        elif misspelt is not None:
            message = tr(
                "Column {column}: {title} is not a field of {resource}. Did you mean {field}? Correct the title, or "
                "map the column to that field.",
                **named,
                field=misspelt.field.heading,
            )
        else:
            return None
        warning = mapping_error("misspelt_column", message, **where, suggestion=misspelt.field.title)
        self.result.warnings.append(warning)
        return TitleMatch(9, misspelt.field, title_scale(title, misspelt.field)) if misspelt.sure else None

    def _extra_column(self, index: int, title: str) -> ColumnMapping:
        """A column that fills no field: an attribute where the resource has attributes, ignored otherwise."""
        if self.extra is ExtraColumns.KEEP and "attributes" in self.resource.fields:
            used_keys = {target.removeprefix(ATTRIBUTE_PREFIX) for target in self.targets.values()}
            used_keys.update(column.attribute or "" for column in self.result.columns)
            key = attribute_key(title) or f"column_{letters(index).lower()}"
            while key in used_keys:
                key = f"{key[:60]}_{letters(index).lower()}"
            return ColumnMapping(index, title, ColumnUse.ATTRIBUTE, attribute=key)
        message = tr(
            "Column {title} is ignored: it is not a field of {resource}.",
            rule="unknown_column",
            title=title,
            resource=plural(self.resource),
        )
        self.result.notes.append(message)
        return ColumnMapping(index, title, ColumnUse.IGNORED)

    def _fill_missing_name(self) -> None:
        """Fill the name from a column that fills another field but is titled by an alias of the name too."""
        label = self.resource.fields[self.resource.model.label]
        if any(column.field is label for column in self.result.columns):
            return
        aliases = {title_key(alias) for alias in label.aliases}
        for column in self.result.columns:
            if column.use is ColumnUse.FIELD and title_key(without_marks(column.title)) in aliases:
                self.result.columns.append(replace(column, field=label, certainty=Certainty.LIKELY))
                message = tr(
                    "Column {title} also fills {field}.", rule="also_fills", title=column.title, field=label.heading
                )
                self.result.notes.append(message)
                return


def _certainty(rank: int) -> Certainty:
    if rank < 0:
        return Certainty.SET
    return Certainty.EXACT if rank < FIRST_ALIAS else Certainty.LIKELY
