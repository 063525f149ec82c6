"""Find the tables of a workbook: the resource of each sheet, its header row and its columns."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from app.catalog import IMPORTABLE
from app.core.messages import Message, tr
from app.imports.map.columns import (
    ColumnUse,
    map_columns,
    mapping_error,
    target_column,
)
from app.imports.map.headers import (
    MAX_EXPLAINING_ROWS,
    explaining_rows,
    find_other_rows,
    header_at,
    score,
    with_titles_above,
)
from app.imports.map.sheet_resources import (
    HEADER_ROWS,
    MapOptions,
    find_mapping,
    first_rows,
    resource_before_columns,
    resource_of_columns,
    sheets_left_out,
    width,
)
from app.imports.map.table import Table
from app.imports.map.titles import title_key
from app.imports.map.units import apply_units
from app.imports.models import ExtraColumns
from app.imports.settings import SavedMapping, SheetSettings
from app.resource import Resource, plural
from app.sheets.cells import Value
from app.sheets.reserved_titles import LISTS, SKIPPED, STATUS
from app.sheets.workbook import Sheet, Workbook

MAX_NAMED_ROWS = 20
SAMPLED_ROWS = 50
"""First rows of a table from which the samples of its columns are taken."""
MAX_SAMPLES = 5
MAX_SAMPLE_LENGTH = 100


class OtherSheet(NamedTuple):
    """A sheet that is not imported: of no known resource, or of one that is skipped as it was set.

    `left_out_by` is the known format of another sheet that does without this one.
    """

    sheet: Sheet
    width: int
    resource: Resource | None
    left_out_by: str | None = None


def find_tables(workbook: Workbook, options: MapOptions) -> tuple[list[Table], list[OtherSheet]]:
    """The tables in the order of the catalog, so that objects come before what refers to them; and the other sheets.

    The resource of a sheet is the one that has been set; else it is named by its title, else by the upload, else by
    a saved mapping for its header, else by its columns.
    """
    tables: list[Table] = []
    others: list[OtherSheet] = []
    left_out = sheets_left_out(workbook, options)
    for sheet in workbook.sheets:
        if sheet.name == LISTS:
            continue
        settings = options.settings.of(sheet.name)
        resource = resource_before_columns(sheet, options)
        saved = find_mapping(sheet, resource, settings, options)
        if saved is None and settings.resource is None and settings.use_format and sheet.name in left_out:
            others.append(OtherSheet(sheet, width(sheet), None, left_out[sheet.name]))
            continue
        # An upload with a mapping of its own uses no saved one; of a known format, it replaces single columns.
        mapping = {**saved.columns_of(first_rows(sheet)), **options.mapping} if saved else options.mapping
        resource = resource or (IMPORTABLE.get(saved.resource) if saved else None)
        resource = resource or resource_of_columns(sheet, mapping)
        if sheet.name.startswith("_") and settings.resource is None:
            # A sheet for the workbook's own use, unless it is set to be imported.
            resource = None
        settings = _all_settings(settings, resource, options, saved)
        if resource is None or settings.skip:
            others.append(OtherSheet(sheet, width(sheet), resource))
        elif sheet.row_count:
            table = _read_table(sheet, resource, mapping, options.extra, settings)
            table.dates = settings.dates or options.dates
            if saved is not None:
                table.saved_mapping = saved
                table.notes.append(saved.note)
            tables.append(table)
    order = list(IMPORTABLE)
    tables.sort(key=lambda table: order.index(table.resource.name))
    return tables, others


def _all_settings(
    settings: SheetSettings, resource: Resource | None, options: MapOptions, saved: SavedMapping | None
) -> SheetSettings:
    """What is set for a sheet, else for its file, else by its saved mapping or its format."""
    constants = {
        target: value
        for target, value in options.settings.constants.items()
        if resource is not None and target_column(resource, -1, "", ColumnUse.CONSTANT, target) is not None
    }
    settings = settings.over(SheetSettings(constants=constants)) if constants else settings
    return settings.over(saved.settings) if saved else settings


def _read_table(
    sheet: Sheet, resource: Resource, mapping: Mapping[str, Any], extra: ExtraColumns, settings: SheetSettings
) -> Table:
    end = HEADER_ROWS if settings.header_row is None else settings.header_row + MAX_EXPLAINING_ROWS
    rows = list(islice(sheet.rows(), end))
    headers = [with_titles_above(rows, at, resource, mapping) for at in range(len(rows))]
    scores = [score(row, resource, mapping) for row in headers]
    best = header_at(headers, scores) if settings.header_row is None else settings.header_row - 1
    first_row = best + 2 + explaining_rows(rows[best + 1 :])
    table = Table(sheet, resource, best + 1, first_row, settings)
    if not scores[best] and settings.header_row is None and not settings.columns:
        message = tr(
            "None of the first {rows} rows has titles of {resource}: say which row has them.",
            rows=len(rows),
            resource=plural(resource),
        )
        table.errors.append(mapping_error("no_header", message))
    mapped = map_columns(resource, headers[best], mapping, extra, settings)
    table.columns, table.warnings, table.notes = mapped.columns, mapped.warnings, mapped.notes
    if settings.units:
        apply_units(table)
    # Errors about titles would be about a row that has none.
    table.errors = table.errors or mapped.errors
    table.width = max(map(len, rows), default=0)
    above = [number for number, row in enumerate(rows[:best], 1) if any(cell not in (None, "") for cell in row)]
    if above:
        table.notes.append(
            tr("Left out because they are above the titles: row {rows}.", rule="above_titles", rows=_named(above))
        )
    explaining = range(best + 2, first_row)
    if explaining:
        table.notes.append(
            tr("Left out because they explain the titles: row {rows}.", rule="explaining", rows=_named(explaining))
        )
    others = [str(at + 1) for at in range(best + 1, len(rows)) if scores[at] == scores[best] > 1]
    if others and settings.header_row is None:
        message = tr(
            "Row {row} is taken for the titles, but row {others} could be them too.",
            row=best + 1,
            others=", ".join(others),
        )
        table.warnings.append(mapping_error("header_row", message, count=len(others)))
    if settings.last_row is None:
        _leave_out_other_rows(table, headers[best])
    else:
        below = islice(enumerate(sheet.rows(), 1), settings.last_row, None)
        numbers = [number for number, row in below if any(cell not in (None, "") for cell in row)]
        if numbers:
            note = tr(
                "Left out because they are below the last row, as it was set: row {rows}.",
                rule="set",
                rows=_named(numbers),
            )
            table.notes.append(note)
    _skip_rows(table)
    _take_samples(table)
    return table


def _take_samples(table: Table) -> None:
    for _, cells in islice(table.rows(), SAMPLED_ROWS):
        table.width = max(table.width, len(cells))
        for index, cell in enumerate(cells):
            samples = table.samples.setdefault(index, [])
            if cell in (None, "") or len(samples) == MAX_SAMPLES:
                continue
            sample = cell[:MAX_SAMPLE_LENGTH] if isinstance(cell, str) else cell
            if sample not in samples:
                samples.append(sample)


def _leave_out_other_rows(table: Table, header: Sequence[Value]) -> None:
    """Leave out totals, notes and another table with a warning; a last row that has been set overrides that."""
    other = find_other_rows(table.rows(), header, is_text=table.sheet.text is not None)
    totals_and_notes, second_table = _unskipped(table, other.totals_and_notes), _unskipped(table, other.second_table)
    if totals_and_notes:
        message = tr(
            "Rows that look like totals or notes are left out: row {rows}. Set the last row of the sheet to import all "
            "rows down to it.",
            rows=_named(totals_and_notes, last=True),
        )
        _warn_of_rows(table, "totals_and_notes", message, totals_and_notes)
    if second_table:
        message = tr(
            "Rows of another table below this one are left out: row {rows}. Set the last row of the sheet to import "
            "all rows down to it.",
            rows=_named(second_table, last=True),
        )
        _warn_of_rows(table, "second_table", message, second_table)


def _unskipped(table: Table, numbers: Sequence[int]) -> list[int]:
    return [number for number in numbers if number not in table.settings.skip_rows]


def _warn_of_rows(table: Table, rule: str, message: Message, numbers: Sequence[int]) -> None:
    facts = {"count": len(numbers), "cells": [str(number) for number in numbers[:MAX_NAMED_ROWS]]}
    table.warnings.append(mapping_error(rule, message, **facts))
    table.skipped.update(numbers)


def _skip_rows(table: Table) -> None:
    """Skip rows that the user excludes, in the settings or in a status column, and the example of a template."""
    places = [column.index for column in table.columns if column.use is ColumnUse.STATUS]
    named = {
        number
        for number, cells in (table.rows() if places else ())
        if any(at < len(cells) and title_key(str(cells[at] or "")) in SKIPPED for at in places)
    }
    if named:
        note = tr(
            "Skipped because of their {column} column: row {rows}.", rule="skipped", column=STATUS, rows=_named(named)
        )
        table.notes.append(note)
    if table.settings.skip_rows:
        rows = _named(table.settings.skip_rows)
        table.notes.append(tr("Skipped as it was set: row {rows}.", rule="set", rows=rows))
    table.skipped.update(named, table.settings.skip_rows)


def _named(numbers: Collection[int], *, last: bool = False) -> str:
    """The first rows by their numbers, and the last one too where that is of interest."""
    ordered = sorted(numbers)
    rows = ", ".join(map(str, ordered[:MAX_NAMED_ROWS]))
    if len(ordered) <= MAX_NAMED_ROWS:
        return rows
    return f"{rows}, … {ordered[-1]}" if last else f"{rows}, …"
