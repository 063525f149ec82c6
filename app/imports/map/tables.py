"""Find the tables of a workbook: the resource of each sheet, its header row and its columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Any

from app.catalog import IMPORTABLE
from app.imports.map.columns import (
    SYSTEM_COLUMNS,
    ColumnMapping,
    ColumnUse,
    map_columns,
    mapping_error,
    match_title,
    plural,
    title_key,
)
from app.imports.models import ExtraColumns
from app.resource import Resource
from app.sheets.cells import Value
from app.sheets.dates import DateOrder, settle_order
from app.sheets.reserved_titles import SKIPPED, STATUS
from app.sheets.workbook import Sheet, Workbook

MAX_TITLE = 255
HEADER_ROWS = 20
"""First rows of a sheet among which the header is looked for."""
MIN_KNOWN_COLUMNS = 3
"""Known columns from which a sheet is recognised whose title names no resource."""
MAX_EXPLAINING_ROWS = 3
"""Rows between the header and the objects: type words, names of fields, which are required."""
MAX_NAMED_ROWS = 20

_TYPE_WORDS = frozenset(
    {
        *("string", "text", "str", "varchar", "char", "integer", "int", "number", "float", "double", "decimal"),
        *("boolean", "bool", "date", "datetime", "time", "enum", "list", "json", "required", "optional"),
        *("字符串", "短字符", "长字符", "文本", "整数", "整型", "数字", "浮点", "浮点数", "布尔", "日期", "时间"),
        *("枚举", "列表", "用户", "必填", "选填", "可选"),
    }
)
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class SavedMapping:
    """A mapping that its user has named, and the resource of the sheets that it was made for."""

    id: int
    name: str
    resource: str
    mapping: Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """A sheet that holds objects of one resource; `errors` are about the sheet as a whole and refuse it.

    `signature` is a hash of the titles; a saved mapping is found by it.
    """

    sheet: Sheet
    resource: Resource
    header_row: int
    first_row: int
    signature: str
    columns: list[ColumnMapping] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    saved_mapping: SavedMapping | None = None
    dates: DateOrder | None = None

    def rows(self) -> Iterator[tuple[int, list[Value]]]:
        """The number and the cells of each row below the header that is neither blank nor skipped by its status."""
        for number, cells in islice(enumerate(self.sheet.rows(), 1), self.first_row - 1, None):
            if number not in self.skipped and any(cell not in (None, "") for cell in cells):
                yield number, cells

    def date_order(self, column: ColumnMapping) -> DateOrder | None:
        """The order of dates that all cells of a column settle."""
        at = column.index
        return settle_order(cells[at] for _, cells in self.rows() if at < len(cells))

    def column_of(self, name: str) -> ColumnMapping | None:
        return next((column for column in self.columns if column.field and column.field.name == name), None)


@dataclass(frozen=True, slots=True)
class MapOptions:
    """What the upload says about its sheets; `saved` holds the user's mappings by the signature of a header."""

    resource: Resource | None
    mapping: Mapping[str, Any]
    extra: ExtraColumns
    saved: Mapping[str, SavedMapping]
    dates: DateOrder | None = None


def find_tables(workbook: Workbook, options: MapOptions) -> tuple[list[Table], list[str]]:
    """The tables in the order of the catalog, so that objects come before what refers to them; and unknown sheets.

    The resource of a sheet is named by its title, else by the upload, else by a saved mapping for its header, else
    by its columns.
    """
    tables: list[Table] = []
    unknown: list[str] = []
    for sheet in workbook.sheets:
        if sheet.name.startswith("_"):
            # A sheet for the workbook's own use, such as the lists of a template.
            continue
        signatures = map(signature_of, _first_rows(sheet))
        saved = next((options.saved[signature] for signature in signatures if signature in options.saved), None)
        mapping = saved.mapping if saved else options.mapping
        resource = (
            _resource_titled(sheet.name) or options.resource or (IMPORTABLE.get(saved.resource) if saved else None)
        )
        resource = resource or _resource_of_columns(sheet, mapping)
        if resource is None:
            unknown.append(sheet.name)
        elif sheet.row_count:
            table = _read_table(sheet, resource, mapping, options.extra)
            table.dates = options.dates
            if saved is not None:
                table.saved_mapping = saved
                table.notes.append(f"Its columns are mapped as you saved them under the name {saved.name}.")
            tables.append(table)
    order = list(IMPORTABLE)
    tables.sort(key=lambda table: order.index(table.resource.name))
    return tables, unknown


def signature_of(titles: Sequence[Value]) -> str:
    """A hash of the titles of a sheet, in any order."""
    texts = sorted({title.strip() for title in titles if isinstance(title, str)})
    return sha256("\n".join(texts).encode()).hexdigest()[:32]


def _resource_titled(name: str) -> Resource | None:
    key = title_key(name)
    for resource in IMPORTABLE.values():
        if key in {title_key(title) for title in (resource.name, *resource.titles)}:
            return resource
    return None


def _resource_of_columns(sheet: Sheet, mapping: Mapping[str, Any]) -> Resource | None:
    """The resource that clearly more columns of a sheet belong to than to any other."""
    rows = _first_rows(sheet)
    scores = {
        name: max((_score(row, resource, mapping) for row in rows), default=0) for name, resource in IMPORTABLE.items()
    }
    first, second = sorted(scores, key=lambda name: -scores[name])[:2]
    return IMPORTABLE[first] if scores[first] >= MIN_KNOWN_COLUMNS and scores[first] > scores[second] else None


def _first_rows(sheet: Sheet) -> list[list[Value]]:
    return list(islice(sheet.rows(), HEADER_ROWS))


def _read_table(sheet: Sheet, resource: Resource, mapping: Mapping[str, Any], extra: ExtraColumns) -> Table:
    rows = _first_rows(sheet)
    headers = [_with_titles_above(rows, at, resource, mapping) for at in range(len(rows))]
    scores = [_score(row, resource, mapping) for row in headers]
    best = _header_at(headers, scores)
    first_row = best + 2 + _explaining_rows(rows[best + 1 :])
    table = Table(sheet, resource, best + 1, first_row, signature_of(rows[best]))
    if not scores[best]:
        message = f"None of the first {len(rows)} rows has titles of {plural(resource)}: add a header row."
        table.errors.append(mapping_error("no_header", message))
        return table
    mapped = map_columns(resource, headers[best], mapping, extra)
    table.columns, table.errors = mapped.columns, mapped.errors
    table.warnings, table.notes = mapped.warnings, mapped.notes
    if above := [
        str(number) for number, row in enumerate(rows[:best], 1) if any(cell not in (None, "") for cell in row)
    ]:
        table.notes.append(f"Left out because they are above the titles: row {', '.join(above)}.")
    others = [str(at + 1) for at in range(best + 1, len(rows)) if scores[at] == scores[best] > 1]
    if others:
        message = f"Row {best + 1} is taken for the titles, but row {', '.join(others)} could be them too."
        table.warnings.append(mapping_error("header_row", message, count=len(others)))
    _skip_rows(table)
    return table


def _header_at(rows: Sequence[Sequence[Value]], scores: Sequence[int]) -> int:
    """The row with most titles; but an earlier row of texts, if that one is rather a row of data with a few aliases."""
    best = scores.index(max(scores))
    filled = [[cell for cell in row if cell not in (None, "")] for row in rows[: best + 1]]
    if scores[best] * 2 >= len(filled[best]):
        return best
    first = (at for at, cells in enumerate(filled) if len(cells) >= len(filled[best]) and all(map(_is_word, cells)))
    return next(first, best)


def _is_word(cell: Value) -> bool:
    return isinstance(cell, str) and not any(letter.isdigit() for letter in cell)


def _skip_rows(table: Table) -> None:
    """Skip rows whose status column says so: the example of a template, and rows that the user excludes."""
    places = [column.index for column in table.columns if column.use is ColumnUse.STATUS]
    if not places:
        return
    for number, cells in table.rows():
        if any(at < len(cells) and title_key(str(cells[at] or "")) in SKIPPED for at in places):
            table.skipped.add(number)
    if table.skipped:
        rows = ", ".join(map(str, sorted(table.skipped)[:MAX_NAMED_ROWS]))
        more = ", …" if len(table.skipped) > MAX_NAMED_ROWS else ""
        table.notes.append(f"Skipped because of their {STATUS} column: row {rows}{more}.")


def _with_titles_above(
    rows: Sequence[Sequence[Value]], at: int, resource: Resource, mapping: Mapping[str, Any]
) -> Sequence[Value]:
    """A row whose empty cells take the titles of the row above: titles beside a group are merged over both rows."""
    row = rows[at]
    if not at or not _score(row, resource, mapping):
        return row
    width = max(len(row), len(rows[at - 1]))
    lower, upper = ([*cells, *[None] * (width - len(cells))] for cells in (row, rows[at - 1]))
    return [
        above if own in (None, "") and _score([above], resource, mapping) else own
        for own, above in zip(lower, upper, strict=True)
    ]


def _explaining_rows(rows: Sequence[Sequence[Value]]) -> int:
    """The number of rows below the header that explain it: type words, then names of fields."""
    explaining = 0
    for row in rows[:MAX_EXPLAINING_ROWS]:
        texts = [str(value).strip() for value in row if value not in (None, "")]
        has_types = texts and all(title_key(text) in _TYPE_WORDS for text in texts)
        # Lower-case words may be data: they are names of fields only below a row of type words.
        has_names = explaining and any("_" in text for text in texts) and all(map(_FIELD_NAME.fullmatch, texts))
        if not has_types and not has_names:
            break
        explaining += 1
    return explaining


def _score(row: Sequence[Value], resource: Resource, mapping: Mapping[str, Any]) -> int:
    """The number of different fields that a row would name as the header."""
    named = set()
    for value in row:
        if isinstance(value, str) and len(value) <= MAX_TITLE:
            match = match_title(value, resource)
            if value.strip() in mapping or value.strip() in SYSTEM_COLUMNS:
                named.add(value)
            elif match is not None:
                named.add(match.field.name)
    return len(named)
