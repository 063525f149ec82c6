"""Cells that no column reads: under a blank title, right of the titles, or missing in a line of delimited text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.messages import Message, tr
from app.imports.map.columns import mapping_error
from app.imports.map.table import Table
from app.sheets.cells import Value, letters

MAX_CELLS = 20
"""First cells that a warning of a sheet names."""


@dataclass(slots=True)
class StrayCells:
    """Counts the cells of a table that have no title; `warn` adds a warning for each of their columns."""

    table: Table
    counts: dict[int, int] = field(default_factory=dict)
    _cells: dict[int, list[str]] = field(default_factory=dict)

    def note(self, index: int, numbers: Sequence[int], cells: Sequence[Value]) -> None:
        """Count the filled cells of an untitled column in a batch of rows."""
        filled = [number for number, cell in zip(numbers, cells, strict=True) if cell not in (None, "")]
        if filled:
            self.counts[index] = self.counts.get(index, 0) + len(filled)
            first = self._cells.setdefault(index, [])
            first += [f"{letters(index)}{number}" for number in filled[: MAX_CELLS - len(first)]]

    def warn(self) -> None:
        for index in sorted(self.counts):
            message = tr(
                "Column {column} has values but no title, so they are left out: give it a title.",
                column=letters(index),
            )
            facts = {"column": letters(index), "count": self.counts[index], "cells": self._cells[index]}
            self.table.warnings.append(mapping_error("untitled_column", message, **facts))


def width_errors(lines: Iterable[Sequence[Value]], width: int) -> Iterator[tuple[int, Message]]:
    """Lines of delimited text with more or fewer cells than titles: each with its place and a message.

    Empty cells may follow the last title.
    """
    for at, cells in enumerate(lines):
        count = len(cells)
        if count < width or (count > width and any(cell not in (None, "") for cell in cells[width:])):
            facts: dict[str, Any] = {"count": count, "titles": width}
            if count > width:
                message = tr(
                    "The line has {count} cells, more than the {titles} titles: put a cell that contains the "
                    "delimiter into quotation marks.",
                    **facts,
                )
            else:
                message = tr(
                    "The line has {count} cells, fewer than the {titles} titles: put a cell that contains the "
                    "delimiter into quotation marks.",
                    **facts,
                )
            yield at, message
