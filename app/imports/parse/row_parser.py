"""Parse the rows of a table: values of fields, with the errors and warnings of their cells.

Rows are parsed column by column, because the cells of a column are read alike and most of them repeat.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import islice, product, zip_longest
from typing import Any

from app.core.db.statements import BATCH_ROWS
from app.core.messages import Message, tr
from app.core.values import MAX_ID
from app.imports.map.columns import ColumnMapping, ColumnUse
from app.imports.map.table import Table
from app.imports.parse.attributes import check_attributes
from app.imports.parse.cells import CellFormat, CellReader, read_attribute, reader_of
from app.imports.parse.guesses import InexactCell, inexact_reading
from app.imports.parse.placeholders import BlankTest, blank_test, identifier_blank, read_meant
from app.imports.parse.plausibility import FEWEST_ROUNDED, describe_digits, describe_proportion
from app.imports.parse.rows import ParsedRow, ParsedTable, dict_factory
from app.imports.parse.set_values import CACHED_CELLS, cell_replacements, read_constants
from app.imports.parse.stray_cells import StrayCells, width_errors
from app.resource import Kind
from app.sheets.cells import CellError, Guess, Value, as_number, shown

_NO_VALUE: Any = object()
"""The result of a cell that leaves its field unchanged, and of a cache miss."""

FillColumn = Callable[[Sequence[ParsedRow], Sequence[Value]], None]
"""Sets the values of one column in the rows of a batch."""


def parse_table(table: Table, advance: Callable[[int], None], match: str | None = None) -> ParsedTable:
    """Every row of a table with all errors of all its cells; `advance` is called with the rows of each batch.

    `match` is the field by which the upload says that rows find their objects.
    """
    parsed = ParsedTable(table, [])
    constants = read_constants(table) if table.settings.constants else []
    if table.errors:
        return parsed
    new_row = _row_factory(table)
    share_names = _name_sharer(table)
    identifying = {match, *table.resource.identifiers, *(item.name for item in table.match_fields())}
    fill_columns = [
        (column.index, _fill_column(column, table, identifying))
        for column in table.columns
        if column.use not in (ColumnUse.IGNORED, ColumnUse.STATUS, ColumnUse.CONSTANT)
    ]
    titled = {column.index for column in table.columns}
    width = max(titled, default=-1) + 1
    stray = StrayCells(table)
    replace_cells = cell_replacements(table) if table.settings.values else {}
    table_rows = table.rows()
    while batch := list(islice(table_rows, BATCH_ROWS)):
        numbers, cells = zip(*batch, strict=True)
        rows = [new_row(number) for number in numbers]
        columns = list(zip_longest(*cells))
        for index, fill in fill_columns:
            if index < len(columns):
                fill(rows, replace_cells[index](columns[index]) if index in replace_cells else columns[index])
        _fill_constants(rows, constants)
        share_names(rows)
        if table.sheet.text is not None:
            for at, message in width_errors(cells, width):
                rows[at].add_error(None, "cells", message)
            del columns[width:]
        for index in set(range(len(columns))) - titled:
            stray.note(index, numbers, columns[index])
        parsed.rows += rows
        advance(len(rows))
    if stray.counts:
        stray.warn()
    check_attributes(parsed)
    return parsed


def _row_factory(table: Table) -> Callable[[int], ParsedRow]:
    fields = [column.field for column in table.columns if column.field is not None]
    new_values = dict_factory([*(field.name for field in fields), "attributes"])
    new_attributes = dict_factory([column.attribute for column in table.columns if column.attribute is not None])
    return lambda number: ParsedRow(table, number, new_values(), new_attributes())


def _name_sharer(table: Table) -> Callable[[Sequence[ParsedRow]], None]:
    """A function that sets the reference names of rows, and keeps those that many rows have in common once."""
    fields = [column.field.name for column in table.columns if column.field and column.field.kind is Kind.REFERENCE]
    cache: dict[tuple[str | None, ...], Mapping[str, str]] = {}

    def share(rows: Sequence[ParsedRow]) -> None:
        for row in rows:
            key = tuple([row.values.get(name) for name in fields])
            names = cache.get(key)
            if names is None:
                names = {name: text for name, text in zip(fields, key, strict=True) if text is not None}
                if len(cache) < CACHED_CELLS:
                    cache[key] = names
            row.reference_names = names

    return share


def _fill_column(column: ColumnMapping, table: Table, identifying: Collection[str | None]) -> FillColumn:
    if column.use is ColumnUse.ATTRIBUTE:
        identifies = column.full_target in table.settings.match
        return _fill_attribute(column, is_text=table.sheet.text is not None, identifies=identifies)
    if column.use is ColumnUse.INSTALLATION:
        return _fill_installation
    if column.use is not ColumnUse.FIELD:
        return _fill_system(column)
    assert column.field is not None
    sheet = table.sheet
    # Dates are searched for their order only where one can be read in two ways.
    find_order = cache(lambda: table.date_order(column))
    cell_format = CellFormat(column.scale, sheet.epoch_1904, sheet.decimal_comma, table.dates, find_order)
    read = reader_of(column.field, cell_format)
    if column.field.kind is Kind.ATTRIBUTES:
        return _fill_attributes(column, read)
    identifies = column.field.name in identifying
    read = read_meant(column.field, read, identifies=identifies)
    return _fill_field(column, read, blank_test(column.field, identifies=identifies))


def _fill_constants(rows: Sequence[ParsedRow], constants: Sequence[tuple[ColumnMapping, Any]]) -> None:
    """Set what has been set for all rows, wherever a row has no value of its own."""
    for (column, value), row in product(constants, rows):
        if column.field is None:
            row.attributes.setdefault(column.target or "", value)
        else:
            row.values.setdefault(column.field.name, value)


def _fill_field(column: ColumnMapping, reader: CellReader, find_blank: BlankTest) -> FillColumn:
    assert column.field is not None
    name = column.field.name
    cache: dict[Value, Any] = {}
    read = _cell_parser(column, reader, cache, find_blank)

    def fill(rows: Sequence[ParsedRow], cells: Sequence[Value]) -> None:
        for row, cell in zip(rows, cells, strict=True):
            if cell is None:
                continue
            # True equals 1, so booleans bypass the cache.
            value = _NO_VALUE if cell.__class__ is bool else cache.get(cell, _NO_VALUE)
            if value is _NO_VALUE:
                value = read(row, cell)
                if value is _NO_VALUE:
                    continue
            row.values[name] = value

    return fill


def _fill_attribute(column: ColumnMapping, *, is_text: bool, identifies: bool) -> FillColumn:
    """A column that fills no field: its cells are kept as they are, and text is trimmed."""
    assert column.attribute is not None
    key = column.attribute
    cache: dict[Value, Any] = {}
    parse = _attribute_parser(column, cache, is_text=is_text, identifies=identifies)

    def fill(rows: Sequence[ParsedRow], cells: Sequence[Value]) -> None:
        for row, cell in zip(rows, cells, strict=True):
            if cell is None:
                continue
            value: Any = cell
            if isinstance(cell, str) or not -FEWEST_ROUNDED < cell < FEWEST_ROUNDED:
                value = cache.get(cell, _NO_VALUE)
                if value is _NO_VALUE:
                    value = parse(row, cell)
                    if value is _NO_VALUE:
                        continue
            row.attributes[key] = value

    return fill


def _attribute_parser(
    column: ColumnMapping, cache: dict[Value, Any], *, is_text: bool, identifies: bool
) -> Callable[[ParsedRow, Value], Any]:
    """A function that reads a cell that fills no field, notes its errors and warnings and caches its value."""

    def parse(row: ParsedRow, cell: Value) -> Any:
        try:
            value = read_attribute(cell, is_typed=is_text)
        except CellError as error:
            if error.rule in ("excel_error", "formula"):
                row.add_warning(column, cell, error.rule, tr("Left out. {problem}", problem=error.message))
            else:
                row.add_cell_error(column, cell, error)
            return _NO_VALUE
        if value == "":
            return _NO_VALUE
        if identifies and (blank := identifier_blank(cell)):
            row.add_warning(column, cell, *blank)
            return _NO_VALUE
        if warning := describe_digits(cell):
            row.add_warning(column, cell, "digits", warning)
        elif len(cache) < CACHED_CELLS:
            cache[cell] = value
        return value

    return parse


def _fill_attributes(column: ColumnMapping, reader: CellReader) -> FillColumn:
    """The column of all attributes as one JSON object; `<clear>` removes those that are stored."""
    assert column.field is not None
    read = _cell_parser(column, reader, {}, blank_test(column.field, identifies=False))

    def fill(rows: Sequence[ParsedRow], cells: Sequence[Value]) -> None:
        for row, cell in zip(rows, cells, strict=True):
            attributes = _NO_VALUE if cell is None else read(row, cell)
            if attributes is None:
                row.values["attributes"] = {}
            elif attributes is not _NO_VALUE:
                row.attributes.update(attributes)

    return fill


def _fill_system(column: ColumnMapping) -> FillColumn:
    """The column of the ids or versions that an export wrote."""
    is_identity = column.use is ColumnUse.IDENTITY

    def fill(rows: Sequence[ParsedRow], cells: Sequence[Value]) -> None:
        for row, cell in zip(rows, cells, strict=True):
            if cell is None or cell == "":
                continue
            number = as_number(cell) if row.table.sheet.text is not None else cell
            if not isinstance(number, int) or not 0 < number <= MAX_ID:
                row.add_cell_error(
                    column, cell, CellError(column.use.value, _not_exported(cell, is_identity=is_identity))
                )
            elif is_identity:
                row.exported_id = number
            else:
                row.exported_version = number

    return fill


def _not_exported(cell: Value, *, is_identity: bool) -> Message:
    if is_identity:
        return tr(
            "“{value}” is not an id as exports write it: empty the cell to match the row by its key.", value=shown(cell)
        )
    return tr(
        "“{value}” is not a version as exports write it: empty the cell to change the object as it is now.",
        value=shown(cell),
    )


def _fill_installation(rows: Sequence[ParsedRow], cells: Sequence[Value]) -> None:
    for row, cell in zip(rows, cells, strict=True):
        row.exported_by = str(cell) if cell else None


def _cell_parser(
    column: ColumnMapping, reader: CellReader, cache: dict[Value, Any], find_blank: BlankTest
) -> Callable[[ParsedRow, Value], Any]:
    """A function that parses a cell of a column, notes its errors and caches its value."""
    field = column.field
    assert field is not None
    is_text, has_usual = field.kind is Kind.TEXT, field.usual is not None

    def parse(row: ParsedRow, cell: Value) -> Any:
        text = cell.strip() if isinstance(cell, str) else cell
        if text == "":
            return _NO_VALUE
        if blank := find_blank(text):
            row.add_warning(column, text, *blank)
            return _NO_VALUE
        try:
            value = reader(text)
        except CellError as error:
            row.add_cell_error(column, text, error)
            return _NO_VALUE
        original = text
        if isinstance(cell, InexactCell):
            original = cell.original
            value = inexact_reading(original, value.value if isinstance(value, Guess) else value)
        if isinstance(value, Guess):
            row.add_warning(column, original, value.rule, value.message, value.meaning)
            return _NO_VALUE if value.value is None else value.value
        if is_text and (text.__class__ is not str or "+" in text) and (warning := describe_digits(text)):
            row.add_warning(column, text, "digits", warning)
        elif has_usual and (warning := describe_proportion(field, value)):
            row.add_warning(column, text, "proportion", warning)
        elif len(cache) < CACHED_CELLS:
            cache[cell] = value
        return value

    return parse
