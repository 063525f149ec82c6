"""Map each column of a table to a field, to an attribute or to nothing, by its title.

Titles are matched by label, field name or alias in any spelling; a unit beside them scales the column's numbers.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from app.imports.map.misspellings import Misspelling, find_misspelling
from app.imports.models import ExtraColumns
from app.resource import Field, Kind, Resource
from app.sheets.cells import Value, letters, unit_factor
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX, IDENTITY, INSTALLATION, STATUS, VERSION

_REQUIRED_MARKS = re.compile(r"[(\[【]\s*(required|optional|必填|必须|选填|可选)\s*[)\]】]|\*", re.IGNORECASE)
_PARENTHESES = re.compile(r"[(\[]([^()\[\]]*)[)\]]\s*$")
_WORD_ENDS = re.compile(r"[\s_/]+")


class ColumnUse(Enum):
    """What the import does with the cells of a column."""

    FIELD = "field"
    IDENTITY = "identity"
    VERSION = "version"
    INSTALLATION = "installation"
    STATUS = "status"
    ATTRIBUTE = "attribute"
    IGNORED = "ignored"


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
    """What one column of a sheet fills; `scale` converts its numbers to the unit of the field."""

    index: int
    title: str
    use: ColumnUse
    field: Field | None = None
    attribute: str | None = None
    scale: float = 1.0

    @property
    def target(self) -> str | None:
        """The name of the field or the attribute that the column fills."""
        return self.field.name if self.field else self.attribute

    def cell(self, row: int) -> str:
        """The address of the column's cell in a row, as the spreadsheet shows it."""
        return f"{letters(self.index)}{row}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "column": letters(self.index),
            "title": self.title,
            "use": self.use.value,
            "field": self.field.name if self.field else None,
            "attribute": self.attribute,
        }


@dataclass(slots=True)
class HeaderMapping:
    """The columns of a table by their titles. Errors refuse the table, notes say what was decided."""

    columns: list[ColumnMapping] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class TitleMatch(NamedTuple):
    """A field that a title names: how exactly (0 is best), and the factor of the title's unit."""

    rank: int
    field: Field
    scale: float


def map_columns(
    resource: Resource, header: Sequence[Value], mapping: Mapping[str, Any], extra: ExtraColumns
) -> HeaderMapping:
    """Decide what each titled column fills; of two columns that name one field, the better match fills it."""
    return _HeaderMapper(resource, mapping, extra).map(header)


def match_title(title: str, resource: Resource) -> TitleMatch | None:
    """The field that a title names, in any of its readings."""
    spellings = spellings_of(resource)
    for key, unit in _readings(title):
        if key not in spellings:
            continue
        rank, item = spellings[key]
        scale = 1.0 if unit is None else unit_factor(unit, item.unit)
        if scale is not None:
            return TitleMatch(rank, item, scale)
    return None


def title_key(title: str) -> str:
    """The text by which titles are compared: letters and digits of any script, in lower case and normal width."""
    narrow = unicodedata.normalize("NFKC", title).casefold()
    return "".join(letter for letter in narrow if letter.isalnum())


def without_marks(title: str) -> str:
    """A title without marks such as (required) and *."""
    return _REQUIRED_MARKS.sub("", unicodedata.normalize("NFKC", title)).strip()


@functools.cache
def spellings_of(resource: Resource) -> dict[str, tuple[int, Field]]:
    """Every spelling of a resource's fields with its rank: the label first, then the name, then the aliases."""
    spellings: dict[str, tuple[int, Field]] = {}
    for item in resource.fields.values():
        if item.name in ("id", "version") or item.kind is Kind.DOCUMENT:
            continue
        without_unit = item.name.removesuffix(f"_{(item.unit or '').lower()}")
        for rank, name in enumerate((item.title, item.name, item.reads_as, without_unit, *item.aliases)):
            key = title_key(name)
            if key not in spellings or rank < spellings[key][0]:
                spellings[key] = (rank, item)
    return spellings


def misspelt_field(title: str, resource: Resource, filled: Iterable[Field]) -> Misspelling | None:
    """The field that a title probably misspells: the same first letter, and one or two typos.

    The first letter is seldom mistyped, and comparing it tells "GPU model" from "CPU model". A title that adds a
    word to a spelling is a title of its own: `Container ID` does not misspell `Container`. A field that another
    column fills is not suggested.
    """
    # Parentheses hold a unit or a remark.
    plain = _PARENTHESES.sub("", without_marks(title))
    key = title_key(plain)
    if len(key) < 4 or not key.isascii() or key[-1].isdigit():
        return None
    shortened = title_key(" ".join(_WORD_ENDS.split(plain)[:-1]))
    others = {item for item in resource.fields.values() if item.read_only}.union(filled)
    return find_misspelling(key, shortened, spellings_of(resource), others)


def attribute_key(title: str) -> str:
    """The name of the attribute that keeps a column: `GPU Share (milli)` is `gpu_share_milli`."""
    return re.sub(r"[\W_]+", "_", without_marks(title).lower()).strip("_")[:64]


def plural(resource: Resource) -> str:
    return resource.titles[0].lower()


def mapping_error(rule: str, message: str, **details: Any) -> dict[str, Any]:
    """An error or a warning of a table as a whole, as the API shows it."""
    return {"rule": rule, "message": message, **details}


def _readings(title: str) -> list[tuple[str, str | None]]:
    """The ways to read a title, each as its key and the unit that is left over; the most literal first."""
    plain = without_marks(title)
    readings: list[tuple[str, str | None]] = [(title_key(plain), None)]
    if parentheses := _PARENTHESES.search(plain):
        readings.append((title_key(plain[: parentheses.start()]), parentheses[1].strip()))
    words = _WORD_ENDS.split(plain)
    if len(words) > 1:
        readings.append((title_key(" ".join(words[:-1])), words[-1]))
    return readings


def _scale(title: str, item: Field) -> float:
    """The factor of the unit in a title whose other words do not name the field."""
    factors = (unit_factor(unit, item.unit) for _, unit in _readings(title) if unit is not None)
    return next((factor for factor in factors if factor is not None), 1.0)


@dataclass(slots=True)
class _HeaderMapper:
    resource: Resource
    mapping: Mapping[str, Any]
    extra: ExtraColumns
    result: HeaderMapping = field(default_factory=HeaderMapping)

    def map(self, header: Sequence[Value]) -> HeaderMapping:
        titles = {index: str(value).strip() for index, value in enumerate(header) if value not in (None, "")}
        matches: dict[int, TitleMatch] = {}
        for index, title in titles.items():
            match = self._mapped(title) if title in self.mapping else match_title(title, self.resource)
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

    def _mapped(self, title: str) -> TitleMatch | None:
        """The field that the upload's mapping names for a title."""
        name = self.mapping[title]
        item = self.resource.fields.get(name) or self.resource.references.get(name) if name else None
        if name and item is None:
            message = f"The mapping of {title} names {name}, which is not a field of {plural(self.resource)}."
            self.result.errors.append(mapping_error("unknown_field", message))
        return TitleMatch(-1, item, _scale(title, item)) if item is not None else None

    def _system_column(self, index: int, title: str) -> ColumnMapping | None:
        """A column that its title alone decides: of an export or a report, or ignored by the upload's mapping."""
        if title in SYSTEM_COLUMNS:
            use, name = SYSTEM_COLUMNS[title]
            return ColumnMapping(index, title, use, self.resource.fields[name] if name else None)
        if title in self.mapping and not self.mapping[title]:
            return ColumnMapping(index, title, ColumnUse.IGNORED)
        if title.startswith(ATTRIBUTE_PREFIX) and "attributes" in self.resource.fields:
            return ColumnMapping(index, title, ColumnUse.ATTRIBUTE, attribute=title.removeprefix(ATTRIBUTE_PREFIX))
        return None

    def _field_column(
        self, index: int, title: str, match: TitleMatch | None, best: dict[Field, int]
    ) -> ColumnMapping | None:
        match = match or self._check_unknown_title(index, title, best)
        if match is None:
            return None
        if match.field.read_only:
            self.result.notes.append(f"Column {title} is ignored: only the platform sets this field.")
            return ColumnMapping(index, title, ColumnUse.IGNORED, match.field)
        if best[match.field] != index:
            self.result.notes.append(f"Column {title} does not fill {match.field.title}: another column does.")
            return None
        return ColumnMapping(index, title, ColumnUse.FIELD, match.field, scale=match.scale)

    def _check_unknown_title(self, index: int, title: str, best: dict[Field, int]) -> TitleMatch | None:
        """The field of a title with one typo; a warning of any misspelling, an error with `extra=refuse`."""
        where = {"column": letters(index), "title": title}
        what = f"Column {letters(index)}: {title} is not a field of {plural(self.resource)}."
        misspelt = misspelt_field(title, self.resource, best)
        if misspelt is not None and misspelt.sure:
            best[misspelt.field] = index
            message = f"{what} It is read as {misspelt.field.title}: map it to another field if that is wrong."
        elif self.extra is ExtraColumns.REFUSE:
            message = f"{what} Remove the column, or say in the mapping what it holds."
            self.result.errors.append(mapping_error("unknown_column", message, **where))
            return None
        elif misspelt is not None:
            message = f"{what} Did you mean {misspelt.field.title}? Correct the title, or map the column to that field."
        else:
            return None
        warning = mapping_error("misspelt_column", message, **where, suggestion=misspelt.field.title)
        self.result.warnings.append(warning)
        return TitleMatch(9, misspelt.field, _scale(title, misspelt.field)) if misspelt.sure else None

    def _extra_column(self, index: int, title: str) -> ColumnMapping:
        """A column that fills no field: an attribute where the resource has attributes, ignored otherwise."""
        if self.extra is ExtraColumns.KEEP and "attributes" in self.resource.fields:
            taken = {column.attribute for column in self.result.columns}
            key = attribute_key(title) or f"column_{letters(index).lower()}"
            while key in taken:
                key = f"{key[:60]}_{letters(index).lower()}"
            return ColumnMapping(index, title, ColumnUse.ATTRIBUTE, attribute=key)
        self.result.notes.append(f"Column {title} is ignored: it is not a field of {plural(self.resource)}.")
        return ColumnMapping(index, title, ColumnUse.IGNORED)

    def _fill_missing_name(self) -> None:
        """Fill the name from a column that fills another field but is titled by an alias of the name too."""
        label = self.resource.fields[self.resource.model.label]
        if any(column.field is label for column in self.result.columns):
            return
        aliases = {title_key(alias) for alias in label.aliases}
        for column in self.result.columns:
            if column.use is ColumnUse.FIELD and title_key(without_marks(column.title)) in aliases:
                self.result.columns.append(replace(column, field=label))
                self.result.notes.append(f"Column {column.title} also fills {label.title}.")
                return
