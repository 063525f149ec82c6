"""Find the row of the titles among the first rows of a sheet."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.imports.map.columns import SYSTEM_COLUMNS
from app.imports.map.titles import match_title, title_key
from app.resource import Resource
from app.sheets.cells import Value

MAX_TITLE = 255
MAX_EXPLAINING_ROWS = 3
"""Rows between the header and the objects: type words, names of fields, which are required."""

_TYPE_WORDS = frozenset(
    {
        *("string", "text", "str", "varchar", "char", "integer", "int", "number", "float", "double", "decimal"),
        *("boolean", "bool", "date", "datetime", "time", "enum", "list", "json", "required", "optional"),
        *("字符串", "短字符", "长字符", "文本", "整数", "整型", "数字", "浮点", "浮点数", "布尔", "日期", "时间"),
        *("枚举", "列表", "用户", "必填", "选填", "可选"),
    }
)
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")


def header_at(rows: Sequence[Sequence[Value]], scores: Sequence[int]) -> int:
    """The row with most titles; but an earlier row of texts, if that one is rather a row of data with a few aliases."""
    best = scores.index(max(scores))
    filled = [[cell for cell in row if cell not in (None, "")] for row in rows[: best + 1]]
    if scores[best] * 2 >= len(filled[best]):
        return best
    first = (at for at, cells in enumerate(filled) if len(cells) >= len(filled[best]) and all(map(_is_word, cells)))
    return next(first, best)


def _is_word(cell: Value) -> bool:
    return isinstance(cell, str) and not any(letter.isdigit() for letter in cell)


def with_titles_above(
    rows: Sequence[Sequence[Value]], at: int, resource: Resource, mapping: Mapping[str, Any]
) -> Sequence[Value]:
    """A row whose empty cells take the titles of the row above: titles beside a group are merged over both rows."""
    row = rows[at]
    if not at or not score(row, resource, mapping):
        return row
    width = max(len(row), len(rows[at - 1]))
    lower, upper = ([*cells, *[None] * (width - len(cells))] for cells in (row, rows[at - 1]))
    return [
        above if own in (None, "") and score([above], resource, mapping) else own
        for own, above in zip(lower, upper, strict=True)
    ]


def explaining_rows(rows: Sequence[Sequence[Value]]) -> int:
    """The number of rows below the header that explain it: type words, then names of fields."""
    explaining = 0
    for row in rows[:MAX_EXPLAINING_ROWS]:
        texts = [str(value).strip() for value in row if value not in (None, "")]
        has_types = texts and all(title_key(text) in _TYPE_WORDS for text in texts)
        # Lower-case words may be data: they are names of fields only below a row of type words.
        has_names = explaining and any("_" in text for text in texts) and all(map(_FIELD_NAME.fullmatch, texts))
        if not has_types and not has_names:
            break
        explaining += 1
    return explaining


def score(row: Sequence[Value], resource: Resource, mapping: Mapping[str, Any]) -> int:
    """The number of different fields that a row would name as the header."""
    named = set()
    for value in row:
        if isinstance(value, str) and len(value) <= MAX_TITLE:
            match = match_title(value, resource)
            if value.strip() in mapping or value.strip() in SYSTEM_COLUMNS:
                named.add(value)
            elif match is not None:
                named.add(match.field.name)
    return len(named)
