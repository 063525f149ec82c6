"""Creating missing referenced objects: on request they become rows of the plan, like all others."""

from collections.abc import Collection
from pathlib import Path

from app.catalog import IMPORTABLE
from app.core.http.access import Role
from app.core.messages import tr
from app.core.values import fold
from app.imports.map.columns import Certainty, ColumnMapping, ColumnUse
from app.imports.map.table import Table
from app.imports.models import RowAction
from app.imports.parse.cells import reader_of
from app.imports.parse.rows import ParsedRow, ParsedTable
from app.resource import Resource
from app.resource.fields import defaults_of
from app.sheets.cells import CellError
from app.sheets.workbook import Sheet


def _needs_a_name_alone(resource: Resource) -> bool:
    model = resource.model
    required = [item.name for item in resource.fields.values() if item.required]
    return required == [model.label] and not model.validate({**defaults_of(model), model.label: "x"})


CREATABLE = tuple(
    name
    for name, resource in IMPORTABLE.items()
    if _needs_a_name_alone(resource)
    and any(item.target is resource.model for other in IMPORTABLE.values() for item in other.references.values())
)
"""The resources of objects that others refer to by their name, and that need nothing else."""


def may_create(resource: Resource, role: Role) -> bool:
    return role.covers(resource.write)


class MissingObjects:
    """The missing objects of one resource: each name once, in any spelling, at the first row that has it."""

    def __init__(self, resource: Resource) -> None:
        label = resource.fields[resource.model.label]
        column = ColumnMapping(-1, "", ColumnUse.CONSTANT, label, certainty=Certainty.SET)
        sheet = Sheet(f"+ {resource.titles[0]}", 0, Path(), 0)
        note = tr("Missing objects that rows refer to: they are created first.", rule="missing_objects")
        table = Table(sheet, resource, header_row=0, first_row=1, columns=[column], notes=[note])
        self.parsed = ParsedTable(table, [])
        self._read = reader_of(label)
        self._label = label.name
        self._rows: dict[str, ParsedRow] = {}

    def create(self, name: str, number: int) -> ParsedRow | CellError:
        """The row that creates the object of a name, which row `number` needs; or why there can be none."""
        row = self._rows.get(fold(name))
        if row is None:
            try:
                values = {self._label: self._read(name)}
            except CellError as error:
                return error
            row = self._rows[fold(name)] = ParsedRow(self.parsed.table, number, values, action=RowAction.CREATE)
            self.parsed.rows.append(row)
        return row

    def keep_only(self, needed: Collection[int]) -> None:
        """Drop the rows, by their `id()`, that no row needs which is going to be written."""
        self.parsed.rows = [row for row in self.parsed.rows if id(row) in needed]
