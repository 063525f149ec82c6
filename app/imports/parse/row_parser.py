"""The cells of a table read into drafts, column by column: all cells of one are read alike, and most repeat."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

from marshmallow import ValidationError

from app.core.db.statements import ROWS_AT_ONCE
from app.core.values import MAX_ID
from app.imports.map.tables import Column, Table, Use
from app.imports.parse.cells import Read, Reading, reader_of
from app.imports.parse.rows import Draft
from app.resource.fields import Field, Kind
from app.resource.json_fields import ATTRIBUTE_KEY, MAX_ATTRIBUTES, MAX_TEXT, clean_attributes
from app.sheets.cell_text import CLEAR, CellError, as_number, as_text, is_placeholder
from app.sheets.dates import Guess
from app.sheets.workbook import Sheet, Value

MAX_KNOWN = 10_000
"""Different cells of a column whose reading is remembered."""

_NEW: Any = object()
"""Stands for a cell that has not been read yet, and for one that says nothing."""


Fill = Callable[[Sequence[Draft], Sequence[Value]], None]
"""Gives the cells of a column to the drafts of their rows."""


def read_drafts(table: Table, advance: Callable[[int], None] = lambda _: None) -> list[Draft]:
    """Each row below the header that is not blank, with every mistake of every cell.

    Column by column, because all cells of one are read alike and most repeat each other.
    """
    drafts: list[Draft] = []
    new_draft = _drafter(table)
    fillers = [
        (column.index, _filler_of(column, table.sheet))
        for column in table.columns
        if column.use not in (Use.IGNORED, Use.STATUS)
    ]
    for numbers, rows in _some_rows(table):
        some = [new_draft(number) for number in numbers]
        columns = list(zip_longest(*rows))
        for index, fill in fillers:
            if index < len(columns):
                fill(some, columns[index])
        drafts += some
        advance(len(some))
    if not _has_sound_attributes(table):
        for draft in drafts:
            if draft.attributes:
                _check_attributes(draft)
    return drafts


def _drafter(table: Table) -> Callable[[int], Draft]:
    """Makes the empty draft of a row, given its number."""
    fields = [column.field for column in table.columns if column.field is not None]
    new_values = _sharing([*(field.name for field in fields), "attributes"])
    new_attributes = _sharing([column.attribute for column in table.columns if column.attribute is not None])
    new_names = _sharing([field.name for field in fields if field.kind is Kind.REFERENCE])
    return lambda number: Draft(table, number, new_values(), new_attributes(), new_names())


def _sharing(keys: Iterable[str]) -> Callable[[], dict[str, Any]]:
    """Makes empty dicts that share these keys as the attributes of a class do (PEP 412), in half the memory."""

    class Shared:
        pass

    # The class learns its keys from the first of its instances.
    first = vars(Shared())
    for key in keys:
        first[key] = None
    return lambda: vars(Shared())


def _some_rows(table: Table) -> Iterator[tuple[list[int], list[list[Value]]]]:
    """The numbers and the cells of the rows of objects, some at a time."""
    rows = table.rows()
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield [number for number, _ in some], [row for _, row in some]


def _filler_of(column: Column, sheet: Sheet) -> Fill:
    if column.use is Use.ATTRIBUTE:
        return _attribute_filler(column, is_text=sheet.text is not None)
    if column.use is not Use.FIELD:
        return _system_filler(column)
    assert column.field is not None
    read = reader_of(column.field, Reading(column.scale, sheet.epoch_1904, sheet.decimal_comma))
    return _merging_filler(column, read) if column.field.kind is Kind.ATTRIBUTES else _field_filler(column, read)


def _field_filler(column: Column, reader: Read) -> Fill:
    assert column.field is not None
    name, is_reference = column.field.name, column.field.kind is Kind.REFERENCE
    known: dict[Value, Any] = {}
    read = _reading_of(column, reader, known)

    def fill(drafts: Sequence[Draft], cells: Sequence[Value]) -> None:
        for draft, cell in zip(drafts, cells, strict=True):
            if cell is None:
                continue
            # True equals 1, so it is never looked up.
            found = _NEW if cell.__class__ is bool else known.get(cell, _NEW)
            if found is _NEW:
                found = read(draft, cell)
                if found is _NEW:
                    continue
            draft.values[name] = found
            if is_reference and found is not None:
                draft.names[name] = found

    return fill


def _attribute_filler(column: Column, *, is_text: bool) -> Fill:
    """A column that is nobody's field: what stands there is kept as it is, and text is trimmed."""
    assert column.attribute is not None
    key = column.attribute
    known: dict[str, Any] = {}

    def fill(drafts: Sequence[Draft], cells: Sequence[Value]) -> None:
        for draft, cell in zip(drafts, cells, strict=True):
            if cell is None:
                continue
            found: Any = cell
            if isinstance(cell, str):
                found = known.get(cell, _NEW)
                if found is _NEW:
                    found = _read_attribute(draft, column, as_number(cell) if is_text else cell)
                    if found is _NEW:
                        continue
                    if len(known) < MAX_KNOWN:
                        known[cell] = found
            draft.attributes[key] = found

    return fill


def _merging_filler(column: Column, reader: Read) -> Fill:
    """A column of attributes as JSON, as an export has it."""
    read = _reading_of(column, reader, {})

    def fill(drafts: Sequence[Draft], cells: Sequence[Value]) -> None:
        for draft, cell in zip(drafts, cells, strict=True):
            found = _NEW if cell is None else read(draft, cell)
            if found is not _NEW and found is not None:
                draft.attributes.update(found)

    return fill


def _system_filler(column: Column) -> Fill:
    is_identity = column.use is Use.IDENTITY

    def fill(drafts: Sequence[Draft], cells: Sequence[Value]) -> None:
        for draft, cell in zip(drafts, cells, strict=True):
            if cell is None or cell == "":
                continue
            # Text has no numbers: what is written as one is one.
            number = as_number(cell) if isinstance(cell, str) and draft.table.sheet.text is not None else cell
            if not isinstance(number, int) or not 0 < number <= MAX_ID:
                what = "an id" if is_identity else "a version"
                draft.fail_cell(column, cell, CellError(column.use.value, f"Must be {what}."))
            elif is_identity:
                draft.identity = number
            else:
                draft.version = number

    return fill


def _reading_of(column: Column, reader: Read, known: dict[Value, Any]) -> Callable[[Draft, Value], Any]:
    """What reads a cell for a draft and remembers in `known` what it found; _NEW where nothing can be said."""
    assert column.field is not None
    item = column.field

    def read(draft: Draft, cell: Value) -> Any:
        value = cell.strip() if isinstance(cell, str) else cell
        if value == "":
            return _NEW
        if isinstance(value, str) and is_placeholder(value):
            draft.warn(column, value, "placeholder", "Read as empty: the value stays as it is.")
            return _NEW
        try:
            found = _cleared(item) if value == CLEAR else reader(value)
        except CellError as error:
            draft.fail_cell(column, value, error)
            return _NEW
        if isinstance(found, Guess):
            draft.warn(column, value, "guess", found.message)
            return _NEW if found.value is None else found.value
        if len(known) < MAX_KNOWN:
            known[cell] = found
        return found

    return read


def _cleared(item: Field) -> Any:
    """What an emptied field has; raises CellError where it may not be empty."""
    if item.kind is Kind.LIST:
        return []
    if not item.nullable:
        raise CellError("required", f"{item.title} may not be empty.")
    return None


def _read_attribute(draft: Draft, column: Column, cell: Value) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        text = as_text(cell)
        if len(text) > MAX_TEXT:
            raise CellError("length", f"May have at most {MAX_TEXT} characters.")
    except CellError as error:
        draft.fail_cell(column, cell, error)
        return _NEW
    if not text:
        return _NEW
    return None if text == CLEAR else text


def _has_sound_attributes(table: Table) -> bool:
    """Whether the names of all attributes are fine because those of the columns are, and their number is."""
    keys = [column.attribute for column in table.columns if column.use is Use.ATTRIBUTE]
    merges = any(column.field and column.field.kind is Kind.ATTRIBUTES for column in table.columns)
    return not merges and len(keys) <= MAX_ATTRIBUTES and all(ATTRIBUTE_KEY.fullmatch(key or "") for key in keys)


def _check_attributes(draft: Draft) -> None:
    try:
        draft.attributes = clean_attributes(draft.attributes)
    except ValidationError as error:
        draft.fail("attributes", "attributes", str(error.messages))
