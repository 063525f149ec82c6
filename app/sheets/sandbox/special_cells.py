"""What calamine does not report of a worksheet: errors, formulas without a value, padded numbers, what is hidden."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.sheets.cells import UNCOMPUTED, column_index

Texts = dict[int, list[tuple[int, str]]]
"""Texts of cells that calamine returns as empty: columns and texts by row."""
Range = tuple[tuple[int, int], tuple[int, int]]
"""The row and the column of the first and of the last cell, counted from 0."""

_ERROR_CELL = re.compile(
    rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bt="e"[^<>]{0,200})>'
    rb"(?:<(?:\w{1,20}:)?f\b[^<>]{0,200}>(?:[^<]*</[^<>]{1,20}>)?)?"
    rb"<(?:\w{1,20}:)?v>(#[^<]{1,20})<"
)
_UNCOMPUTED_CELL = re.compile(
    rb"<(?:\w{1,20}:)?c ([^<>]{0,200})>"
    rb"<(?:\w{1,20}:)?f\b(?:[^<>]{0,200}/>|[^<>]{0,200}>[^<]*</(?:\w{1,20}:)?f>)"
    rb"(?:<(?:\w{1,20}:)?v\s{0,9}/>|<(?:\w{1,20}:)?v></(?:\w{1,20}:)?v>)?</(?:\w{1,20}:)?c>"
)
_HIDDEN_ROW = re.compile(rb'<(?:\w{1,20}:)?row ([^<>]{0,300}\bhidden="(?:1|true)"[^<>]{0,300})>')
_HIDDEN_COLUMN = re.compile(rb'<(?:\w{1,20}:)?col ([^<>]{0,300}\bhidden="(?:1|true)"[^<>]{0,300})>')
_ROW_NUMBER = re.compile(rb'\br="([0-9]{1,7})"')
_MIN, _MAX = re.compile(rb'\bmin="([0-9]{1,5})"'), re.compile(rb'\bmax="([0-9]{1,5})"')
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')


class SpecialCells:
    """The special cells of a worksheet, gathered from its XML; `padded` are the styles that show leading zeros."""

    def __init__(self, padded: Mapping[int, int]) -> None:
        self.texts: Texts = {}
        self._padded = padded
        self._hidden_columns: list[tuple[int, int]] = []
        self._hidden_rows: list[int] = []

    def add(self, worksheet: bytes) -> None:
        """Gather from the whole XML, or from a part of it that ends between two rows."""
        self._add_texts((cell, text.decode()) for cell, text in _ERROR_CELL.findall(worksheet))
        self._add_texts((cell, UNCOMPUTED) for cell in _uncomputed(worksheet))
        if self._padded:
            self._add_texts(_padded_texts(worksheet, self._padded))
        self._hidden_columns += [
            (int(low) - 1, int(high) - 1)
            for tag in _HIDDEN_COLUMN.findall(worksheet)
            for low, high in zip(_MIN.findall(tag), _MAX.findall(tag), strict=True)
        ]
        tags = _HIDDEN_ROW.findall(worksheet)
        self._hidden_rows += [int(number) for tag in tags for number in _ROW_NUMBER.findall(tag)]

    def layout(self, merged_ranges: Iterable[Range]) -> dict[str, Any]:
        """Hidden rows and columns, and cells merged down a column, each only if there are some."""
        merged = [(first[0] + 1, last[0] + 1, first[1]) for first, last in merged_ranges if last[0] > first[0]]
        layout = {
            "hidden_columns": self._hidden_columns,
            "hidden_rows": self._hidden_rows,
            "merged": sorted(merged),
        }
        return {name: places for name, places in layout.items() if places}

    def _add_texts(self, cells: Iterable[tuple[bytes, str]]) -> None:
        for attributes, text in cells:
            if reference := _REFERENCE.search(attributes):
                row, column = int(reference[2]), column_index(reference[1].decode())
                self.texts.setdefault(row, []).append((column, text))


def _uncomputed(worksheet: bytes) -> Iterator[bytes]:
    """The attributes of cells with a formula but no value; an empty text (`t="str"`) is a value."""
    return (cell[1] for cell in _UNCOMPUTED_CELL.finditer(worksheet) if b't="str"' not in cell[1])


def _padded_texts(worksheet: bytes, padded: Mapping[int, int]) -> Iterator[tuple[bytes, str]]:
    """The whole numbers in cells of such styles, as the spreadsheet shows them."""
    styles = "|".join(map(str, padded)).encode()
    cell = re.compile(
        rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bs="(' + styles + rb')"[^<>]{0,200})>'
        rb"(?:<(?:\w{1,20}:)?f\b(?:[^<>]{0,200}/>|[^<>]{0,200}>[^<]*</[^<>]{1,20}>))?"
        rb"<(?:\w{1,20}:)?v>([0-9]{1,15})</"
    )
    for attributes, style, digits in cell.findall(worksheet):
        if not re.search(rb'\bt="(?!n")', attributes):
            yield attributes, digits.decode().zfill(padded[int(style)])
