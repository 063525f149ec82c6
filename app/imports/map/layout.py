"""What the layout of a sheet means for its table: hidden rows and columns count, and are named; merged cells too."""

from collections.abc import Sequence

from app.core.messages import Message, tr
from app.imports.map.columns import mapping_error
from app.imports.map.table import Table
from app.sheets.cells import letters

MAX_NAMED = 20
"""First rows, columns and ranges that are named."""


def warn_of_layout(table: Table) -> None:
    """Add the warnings and notes of what is hidden or merged in the sheet of a table."""
    layout = table.sheet.layout
    if layout.get("hidden"):
        table.warnings.append(mapping_error("hidden_sheet", tr("The sheet is hidden, and is imported all the same.")))
    hidden = [row for row in layout.get("hidden_rows", ()) if row >= table.first_row]
    if hidden:
        places = [str(row) for row in hidden]
        message = tr(
            "Rows that are hidden are imported all the same: {places}. Delete what is not wanted.",
            places=_named(places),
        )
        _warn(table, "hidden_rows", message, places)
    named = {column.index: column for column in table.columns}
    ranges = layout.get("hidden_columns", ())
    columns = [letters(index) for index in sorted(named) if any(low <= index <= high for low, high in ranges)]
    if columns:
        message = tr(
            "Columns that are hidden are imported all the same: {places}. Delete what is not wanted.",
            places=_named(columns),
        )
        _warn(table, "hidden_columns", message, columns)
    merged = [place for place in layout.get("merged", ()) if place[1] >= table.first_row and place[2] in named]
    if merged:
        places = [f"{letters(column)}{first}:{letters(column)}{last}" for first, last, column in merged]
        note = tr(
            "The value of merged cells counts for each of their rows: {places}.",
            rule="merged_cells",
            places=_named(places),
        )
        table.notes.append(note)


def _warn(table: Table, rule: str, message: Message, places: Sequence[str]) -> None:
    table.warnings.append(mapping_error(rule, message, count=len(places), cells=list(places[:MAX_NAMED])))


def _named(places: Sequence[str]) -> str:
    return ", ".join(places[:MAX_NAMED]) + (", …" if len(places) > MAX_NAMED else "")
