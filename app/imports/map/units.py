"""Units that are set for the numbers of fields."""

from dataclasses import replace

from app.imports.map.table import Table
from app.imports.map.titles import title_unit
from app.imports.settings import find_field
from app.sheets.cells import unit_factor


def apply_units(table: Table) -> None:
    """Scale numbers by the units that are set for their fields, where the title of the column names none."""
    factors = {
        item.name: unit_factor(unit, item.unit)
        for target, unit in table.settings.units.items()
        if (item := find_field(table.resource, target)) is not None
    }
    table.columns = [
        replace(column, scale=factors[column.field.name] or 1.0)
        if column.field and column.field.name in factors and title_unit(column.title, column.field) is None
        else column
        for column in table.columns
    ]
