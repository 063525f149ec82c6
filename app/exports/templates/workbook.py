"""A workbook for one resource: its titles, an example, and drop-downs of what there is to choose from."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from app.core.db.unit_of_work import db
from app.core.values import as_json
from app.exports.columns import called, title_of
from app.exports.templates.example import example_of
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.sheets.reserved_titles import EXAMPLE, STATUS

LISTS = "_lists"
"""The hidden sheet of what can be chosen; an import does not read sheets whose title begins so."""
CHOOSABLE_ROWS = 10_000
MOST_NAMES = 20_000
"""Names that a drop-down offers: nobody scrolls further, and what is typed is looked up among all."""

_LEFT_OUT = frozenset({Kind.ATTRIBUTES, Kind.DOCUMENT})


def write_template(path: Path, resource: Resource) -> None:
    """Write the workbook; required columns have a star, and the example is left out by its `_import`."""
    fields = [field for field in resource.fields.values() if not field.read_only and field.kind not in _LEFT_OUT]
    names = {field.name: _names(field) for field in fields if field.target is not None}
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(path, options) as book:
        page = book.add_worksheet(resource.titles[0])
        lists = book.add_worksheet(LISTS)
        lists.hide()
        looks = {
            "required": book.add_format({"bold": True, "bg_color": "#FFEB9C"}),
            "optional": book.add_format({"bold": True}),
            "example": book.add_format({"italic": True, "font_color": "#7F7F7F"}),
            "day": book.add_format({"italic": True, "font_color": "#7F7F7F", "num_format": "yyyy-mm-dd"}),
        }
        page.freeze_panes(1, 0)
        page.write_string(0, 0, STATUS, looks["optional"])
        page.write_comment(0, 0, f"Rows that say {EXAMPLE} or skip here are not imported.")
        page.write_string(1, 0, EXAMPLE, looks["example"])
        example = example_of(resource, fields, names)
        for place, field in enumerate(fields, 1):
            _write_title(page, place, field, looks)
            _write_example(page, place, example[field.name], looks)
            _offer(page, lists, place, _choices(field, names))


def _write_title(page: Worksheet, place: int, field: Field, looks: Mapping[str, Any]) -> None:
    title = f"{title_of(field)} *" if field.required else title_of(field)
    page.write_string(0, place, title, looks["required" if field.required else "optional"])
    page.set_column(place, place, max(12, len(title) + 2))
    said = [f"{field.title} is required."] if field.required else []
    if field.choices is not None:
        said.append(f"One of {', '.join(member.value for member in field.choices)}.")
    if field.kind is Kind.OBJECTS:
        said.append("JSON, as an export writes it.")
    if said:
        page.write_comment(0, place, " ".join(said))


def _write_example(page: Worksheet, place: int, value: Any, looks: Mapping[str, Any]) -> None:
    match value:
        case None:
            return
        case date():
            page.write_datetime(1, place, datetime.combine(value, time.min), looks["day"])
        case int() | float():
            page.write_number(1, place, value, looks["example"])
        case _:
            page.write_string(1, place, str(as_json(value)), looks["example"])


def _choices(field: Field, names: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if field.choices is not None:
        return [member.value for member in field.choices]
    return ["yes", "no"] if field.kind is Kind.BOOLEAN else names.get(field.name, ())


def _offer(page: Worksheet, lists: Worksheet, place: int, choices: Sequence[str]) -> None:
    """Give a column its drop-down. Other values only warn: an alias, or what another sheet creates, is right too."""
    if not choices:
        return
    for row, choice in enumerate(choices):
        lists.write_string(row, place, choice)
    column = xlsxwriter.utility.xl_col_to_name(place, col_abs=True)
    rule = {
        "validate": "list",
        "source": f"={LISTS}!{column}$1:{column}${len(choices)}",
        "error_type": "warning",
        "error_title": "Not in the list",
        "error_message": "There was no such entry when this workbook was made.",
    }
    page.data_validation(1, place, CHOOSABLE_ROWS, place, rule)


def _names(field: Field) -> list[str]:
    """The names that a reference may have now, as an export writes them."""
    assert field.target is not None
    table = field.target.__table__
    label = table.c[field.target.label]
    name = called(field)
    statement = sa.select(table.c.id, label).order_by(sa.func.fold(label), table.c.id).limit(MOST_NAMES)
    return [name(identity, text) for identity, text in db.session.execute(statement)]
