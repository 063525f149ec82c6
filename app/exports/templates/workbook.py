"""Writes the template of a resource: titles, an example row, and drop-down lists."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from app.core.db.unit_of_work import db
from app.core.values import as_json
from app.exports.columns import reference_names, title_of
from app.exports.templates.example import example_of
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.sheets.cells import letters
from app.sheets.reserved_titles import EXAMPLE, LISTS, STATUS

DROP_DOWN_ROWS = 10_000
MAX_ENTRIES = 20_000
"""Entries of a drop-down list; an import accepts all names."""

_OMITTED_KINDS = frozenset({Kind.ATTRIBUTES, Kind.DOCUMENT})

Formats = Mapping[str, Any]


def write_template(path: Path, resource: Resource) -> None:
    """Write the workbook. Titles of required columns have a star; the import skips the example row."""
    fields = [field for field in resource.fields.values() if not field.read_only and field.kind not in _OMITTED_KINDS]
    names = {field.name: _names(field) for field in fields if field.target is not None}
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(path, options) as book:
        page = book.add_worksheet(resource.titles[0])
        lists = book.add_worksheet(LISTS)
        lists.hide()
        formats = {
            "required": book.add_format({"bold": True, "bg_color": "#FFEB9C"}),
            "optional": book.add_format({"bold": True}),
            "example": book.add_format({"italic": True, "font_color": "#7F7F7F"}),
            "date": book.add_format({"italic": True, "font_color": "#7F7F7F", "num_format": "yyyy-mm-dd"}),
        }
        page.freeze_panes(1, 0)
        page.write_string(0, 0, STATUS, formats["optional"])
        page.write_comment(0, 0, f"Rows with {EXAMPLE} or skip in this column are not imported.")
        page.write_string(1, 0, EXAMPLE, formats["example"])
        example = example_of(resource, fields, names)
        for column, field in enumerate(fields, 1):
            _write_title(page, column, field, formats)
            _write_example(page, column, example[field.name], formats)
            _add_drop_down(page, lists, column, _entries(field, names))


def _write_title(page: Worksheet, column: int, field: Field, formats: Formats) -> None:
    title = f"{title_of(field)} *" if field.required else title_of(field)
    page.write_string(0, column, title, formats["required" if field.required else "optional"])
    page.set_column(column, column, max(12, len(title) + 2))
    sentences = [f"{field.title} is required."] if field.required else []
    if field.choices is not None:
        sentences.append(f"One of {', '.join(member.value for member in field.choices)}.")
    if field.kind is Kind.OBJECTS:
        sentences.append("JSON, as an export writes it.")
    if sentences:
        page.write_comment(0, column, " ".join(sentences))


def _write_example(page: Worksheet, column: int, value: Any, formats: Formats) -> None:
    match value:
        case None:
            return
        case date():
            page.write_datetime(1, column, datetime.combine(value, time.min), formats["date"])
        case int() | float():
            page.write_number(1, column, value, formats["example"])
        case _:
            page.write_string(1, column, str(as_json(value)), formats["example"])


def _entries(field: Field, names: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if field.choices is not None:
        return [member.value for member in field.choices]
    return ["yes", "no"] if field.kind is Kind.BOOLEAN else names.get(field.name, ())


def _add_drop_down(page: Worksheet, lists: Worksheet, column: int, entries: Sequence[str]) -> None:
    """Give a column a drop-down list. Other values only warn: aliases and names from another sheet are valid too."""
    if not entries:
        return
    for row, entry in enumerate(entries):
        lists.write_string(row, column, entry)
    name = f"${letters(column)}"
    rule = {
        "validate": "list",
        "source": f"={LISTS}!{name}$1:{name}${len(entries)}",
        "error_type": "warning",
        "error_title": "Not in the list",
        "error_message": "There was no such entry when this workbook was made.",
    }
    page.data_validation(1, column, DROP_DOWN_ROWS, column, rule)


def _names(field: Field) -> list[str]:
    """The names of the objects that a reference can have now, as exports write them."""
    assert field.target is not None
    table = field.target.__table__
    label = table.c[field.target.label]
    cell_text = reference_names(field)
    statement = sa.select(table.c.id, label).order_by(sa.func.fold(label), table.c.id).limit(MAX_ENTRIES)
    return [cell_text(identity, name) for identity, name in db.session.execute(statement)]
