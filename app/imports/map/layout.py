"""Where the tables of a workbook are: which sheet holds which resource, and which row its titles."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

from app.catalog import IMPORTABLE
from app.imports.map.columns import SYSTEM, assign
from app.imports.map.tables import MAX_TITLE, Remembered, Table, problem
from app.imports.map.titles import key_of, match, take_apart
from app.imports.models import Extra
from app.resource.declaration import Resource
from app.sheets.workbook import Sheet, Value, Workbook

HEADER_WITHIN = 20
"""Rows of a sheet among which its header is looked for."""
ENOUGH_COLUMNS = 3
"""Columns by which a sheet is known whose title says nothing."""
MOST_ROWS_BELOW = 3
"""Rows between the titles and the objects: type words, names of fields, what is required."""

_TYPE_WORDS = frozenset(
    {
        *("string", "text", "str", "varchar", "char", "integer", "int", "number", "float", "double", "decimal"),
        *("boolean", "bool", "date", "datetime", "time", "enum", "list", "json", "required", "optional"),
        *("字符串", "短字符", "长字符", "文本", "整数", "整型", "数字", "浮点", "浮点数", "布尔", "日期", "时间"),
        *("枚举", "列表", "用户", "必填", "选填", "可选"),
    }
)
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")


def find_tables(
    book: Workbook,
    resource: Resource | None,
    mapping: Mapping[str, Any],
    extra: Extra,
    remembered: Mapping[str, Remembered],
) -> tuple[list[Table], list[str]]:
    """The tables in the order of the catalog, so that what is referred to comes first, and the unknown sheets.

    A sheet is known by its title; `resource` is what the others hold, if the request says so, and else what was
    `remembered` for their titles, or their columns. What was remembered stands in for the mapping, too.
    """
    tables: list[Table] = []
    unknown: list[str] = []
    for sheet in book.sheets:
        if sheet.name.startswith("_"):
            # What only the workbook itself needs, such as the lists of a template.
            continue
        kept = next((remembered[sign] for sign in map(signature_of, _top(sheet)) if sign in remembered), None)
        own = kept.mapping if kept else mapping
        held = _resource_titled(sheet.name) or resource or (IMPORTABLE.get(kept.resource) if kept else None)
        held = held or _resource_of_columns(sheet, own)
        if held is None:
            unknown.append(sheet.name)
        elif sheet.row_count:
            table = _read_table(sheet, held, own, extra)
            if kept is not None:
                table.remembered = kept
                table.notes.append(f"Its columns are read as you had them remembered: {kept.name}.")
            tables.append(table)
    order = list(IMPORTABLE)
    tables.sort(key=lambda table: order.index(table.resource.name))
    return tables, unknown


def signature_of(titles: Sequence[Value]) -> str:
    """What stands for the titles of a sheet, in whatever order they are."""
    texts = sorted({title.strip() for title in titles if isinstance(title, str)})
    return sha256("\n".join(texts).encode()).hexdigest()[:32]


def _resource_titled(name: str) -> Resource | None:
    key = key_of(name)
    for resource in IMPORTABLE.values():
        if key in {key_of(title) for title in (resource.name, *resource.titles)}:
            return resource
    return None


def _resource_of_columns(sheet: Sheet, mapping: Mapping[str, Any]) -> Resource | None:
    """The resource of which a sheet has clearly more columns than of any other."""
    rows = _top(sheet)
    scores = {name: max((_score(row, item, mapping) for row in rows), default=0) for name, item in IMPORTABLE.items()}
    first, second = sorted(scores, key=lambda name: -scores[name])[:2]
    return IMPORTABLE[first] if scores[first] >= ENOUGH_COLUMNS and scores[first] > scores[second] else None


def _top(sheet: Sheet) -> list[list[Value]]:
    return list(islice(sheet.rows(), HEADER_WITHIN))


def _read_table(sheet: Sheet, resource: Resource, mapping: Mapping[str, Any], extra: Extra) -> Table:
    rows = _top(sheet)
    headers = [_with_titles_above(rows, at, resource, mapping) for at in range(len(rows))]
    scores = [_score(row, resource, mapping) for row in headers]
    best = scores.index(max(scores))
    first_row = best + 2 + _rows_below(rows[best + 1 :])
    table = Table(sheet, resource, best + 1, first_row, [], signature=signature_of(rows[best]))
    if not scores[best]:
        table.problems.append(problem("no_header", f"None of the first {len(rows)} rows holds the titles of columns."))
        return table
    assign(table, headers[best], mapping, extra)
    return table


def _with_titles_above(
    rows: Sequence[Sequence[Value]], at: int, resource: Resource, mapping: Mapping[str, Any]
) -> Sequence[Value]:
    """A row with the titles that reach down to it from the row above, as those beside a group of columns do."""
    row = rows[at]
    if not at or not _score(row, resource, mapping):
        return row
    width = max(len(row), len(rows[at - 1]))
    lower, upper = ([*cells, *[None] * (width - len(cells))] for cells in (row, rows[at - 1]))
    return [
        above if own in (None, "") and _score([above], resource, mapping) else own
        for own, above in zip(lower, upper, strict=True)
    ]


def _rows_below(rows: Sequence[Sequence[Value]]) -> int:
    """How many rows below the titles only explain them: type words, and then the names of fields."""
    explained = 0
    for row in rows[:MOST_ROWS_BELOW]:
        texts = [str(value).strip() for value in row if value not in (None, "")]
        typed = texts and all(key_of(text) in _TYPE_WORDS for text in texts)
        # Lower-case words may be data, so that only type words above them make them names of fields.
        named = explained and any("_" in text for text in texts) and all(map(_FIELD_NAME.fullmatch, texts))
        if not typed and not named:
            break
        explained += 1
    return explained


def _score(row: Sequence[Value], resource: Resource, mapping: Mapping[str, Any]) -> int:
    """How many different fields a row's texts name, if it were the header."""
    named = set()
    for value in row:
        if isinstance(value, str) and len(value) <= MAX_TITLE:
            found = match(take_apart(value), resource)
            if value.strip() in mapping or value.strip() in SYSTEM:
                named.add(value)
            elif found is not None:
                named.add(found[1].name)
    return len(named)
