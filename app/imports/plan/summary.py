"""A planned sheet as the API shows it: how it was understood, what its rows do, and what is wrong with them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from app.imports.map.columns import Certainty, ColumnMapping
from app.imports.map.tables import OtherSheet, Table
from app.imports.map.titles import alternative_fields
from app.imports.models import RowAction
from app.imports.parse.cells import RowMessage
from app.imports.parse.rows import ParsedRow, ParsedTable
from app.resource import Resource
from app.sheets.workbook import Sheet

MAX_GROUPS = 200
MAX_VALUES = 20
"""Different values that a group of messages lists, the most frequent first."""
MAX_ROWS = 5

GroupKey = tuple[str, str, str | None, str | None]
"""Severity, rule, letters of the column and field: messages that have these in common are told once."""


def sheet_summary(parsed: ParsedTable) -> dict[str, Any]:
    """A planned sheet: its columns, the number of its rows by action, and its errors and warnings in groups."""
    table = parsed.table
    counts = Counter(row.action for row in parsed.rows)
    return {
        **_sheet_facts(table.sheet, table.width),
        "resource": table.resource.name,
        "skipped": False,
        "header_row": table.header_row or None,
        **{action.value: counts[action] for action in RowAction},
        "warnings": sum(len(row.warnings) for row in parsed.rows) + len(table.warnings),
        "columns": [_column(column, table) for column in table.columns],
        "missing_fields": missing_fields(table),
        "messages": _groups(parsed.rows),
        "problems": table.errors,
        "sheet_warnings": table.warnings,
        "notes": table.notes,
    }


def other_sheet(other: OtherSheet) -> dict[str, Any]:
    """A sheet that is skipped, or holds no known resource; the other sheets are imported all the same."""
    skipped = other.resource is not None
    unknown = "The sheet is ignored: neither its name nor its columns are those of a resource."
    if other.sheet.name.startswith("_"):
        unknown = "The sheet is ignored because its name starts with an underscore: set its resource to import it."
    return {
        **_sheet_facts(other.sheet, other.width),
        "resource": other.resource.name if other.resource else None,
        "skipped": skipped,
        "header_row": None,
        **{action.value: 0 for action in RowAction},
        "warnings": 0,
        "columns": [],
        "missing_fields": [],
        "messages": [],
        "problems": [],
        "sheet_warnings": [],
        "notes": ["The sheet is skipped, as it was set." if skipped else unknown],
    }


def missing_fields(table: Table) -> list[str]:
    """The required fields that no column and no constant fills."""
    return [item.name for item in table.resource.fields.values() if item.required and not table.column_of(item.name)]


def choosable_fields(resource: Resource) -> list[str]:
    """The fields that a column may fill."""
    return [item.name for item in resource.fields.values() if not item.read_only and item.name != "attributes"]


def column_letters(message: RowMessage) -> str | None:
    """The letters of the column that an error or a warning is about."""
    return message["cell"].rstrip("0123456789") if message["cell"] else None


def _sheet_facts(sheet: Sheet, width: int) -> dict[str, Any]:
    return {"sheet": sheet.name, "text": sheet.text, "row_count": sheet.row_count, "column_count": width}


def _column(column: ColumnMapping, table: Table) -> dict[str, Any]:
    unsure = column.certainty in (Certainty.LIKELY, Certainty.NONE)
    return {
        "column": column.letters,
        "title": column.title,
        "use": column.use.value,
        "field": column.field.name if column.field else None,
        "attribute": column.attribute,
        "certainty": column.certainty.value,
        "alternatives": alternative_fields(column.title, table.resource, column.field) if unsure else [],
        "samples": table.samples.get(column.index, []),
    }


def _groups(rows: Sequence[ParsedRow]) -> list[dict[str, Any]]:
    """The errors and warnings of all rows, each rule and column once, the most frequent first."""
    groups: dict[GroupKey, dict[str, Any]] = {}
    values: dict[GroupKey, Counter[str]] = {}
    for row, severity, message in _messages(rows):
        letters = column_letters(message)
        key = (severity, message["rule"], letters, message["field"])
        group = groups.get(key)
        if group is None:
            group = groups[key] = {
                "severity": severity,
                "rule": message["rule"],
                "column": letters,
                "title": message["column"],
                "field": message["field"],
                "message": message["message"],
                "count": 0,
                "rows": [],
            }
            values[key] = Counter()
        group["count"] += 1
        if len(group["rows"]) < MAX_ROWS:
            group["rows"].append(row.number)
        if message["value"] is not None:
            values[key][str(message["value"])[:100]] += 1
    ordered = sorted(groups, key=lambda key: (key[0] != "error", -groups[key]["count"]))
    return [{**groups[key], "values": _frequent(values[key])} for key in islice(ordered, MAX_GROUPS)]


def _messages(rows: Sequence[ParsedRow]) -> Iterator[tuple[ParsedRow, str, RowMessage]]:
    for row in rows:
        for error in row.errors:
            yield row, "error", error
        for warning in row.warnings:
            yield row, "warning", warning


def _frequent(values: Counter[str]) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in values.most_common(MAX_VALUES)]
