"""A planned sheet as it is stored: how it was understood, what its rows do, and what is wrong with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from app.catalog import IMPORTABLE
from app.core.messages import Message, Term, pack, tr
from app.imports.map.columns import Certainty, ColumnMapping
from app.imports.map.table import GroupKey, MessageGroup, MessageGroups, Table
from app.imports.map.tables import OtherSheet
from app.imports.map.titles import alternative_fields
from app.imports.models import RowAction
from app.imports.parse.rows import MAX_WARNINGS, ParsedTable, RowMessage
from app.imports.plan.store import packed
from app.resource import Resource
from app.sheets.workbook import Sheet

MAX_GROUPS = 200
MAX_LISTED_VALUES = 20
"""Different values that a group of messages lists, the most frequent first."""
Problem = dict[str, Any]
"""Why an import is invalid, failed, left rows out or could not be reverted: a reason, a message and facts, as JSON
keeps them."""
MAX_SHEETS = 12
"""Sheets that a problem names."""


def sheet_summary(parsed: ParsedTable) -> dict[str, Any]:
    """A planned sheet: its columns, the number of its rows by action, and its errors and warnings in groups."""
    table = parsed.table
    counts = Counter(row.action for row in parsed.rows)
    return {
        **_sheet_facts(table.sheet, table.width),
        "resource": table.resource.name,
        "skipped": False,
        "format": table.saved_mapping.name if table.saved_mapping and table.saved_mapping.id is None else None,
        "header_row": table.header_row or None,
        **{action.value: counts[action] for action in RowAction},
        "warnings": table.row_warnings.total() + len(table.warnings),
        "columns": [_column(column, table) for column in table.columns],
        "missing_fields": missing_fields(table),
        "messages": _groups(parsed),
        "problems": packed(table.errors),
        "sheet_warnings": packed(table.warnings),
        "sheet_notes": _notes(table.notes),
    }


def other_sheet(other: OtherSheet) -> dict[str, Any]:
    """A sheet that is skipped, or holds no known resource; the other sheets are imported all the same."""
    skipped = other.resource is not None
    note = tr("The sheet is skipped, as it was set.", rule="set")
    if other.left_out_by is not None:
        note = tr(
            "The sheet is left out: {name} does not need it. Set its resource to import it.",
            rule="known_format",
            name=other.left_out_by,
        )
    elif not skipped and other.sheet.name.startswith("_"):
        note = tr(
            "The sheet is ignored because its name starts with an underscore: set its resource to import it.",
            rule="underscore",
        )
    elif not skipped:
        note = tr(
            "The sheet is ignored: neither its name nor its columns are those of a resource. Say which resource it "
            "holds, if it holds one.",
            rule="unknown_sheet",
        )
    return {
        **_sheet_facts(other.sheet, other.width),
        "resource": other.resource.name if other.resource else None,
        "skipped": skipped,
        "format": None,
        "header_row": None,
        **{action.value: 0 for action in RowAction},
        "warnings": 0,
        "columns": [],
        "missing_fields": [],
        "messages": [],
        "problems": [],
        "sheet_warnings": [],
        "sheet_notes": _notes([note]),
    }


def unread_sheet(sheet: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of the summary of a sheet whose file cannot be read with the settings of now.

    Its name and settings, so that they can be corrected; nothing of the plan before, whose rows are gone.
    """
    counts = {action.value: 0 for action in RowAction}
    lists: dict[str, Any] = {name: [] for name in ("columns", "missing_fields", "messages", "problems")}
    return {**sheet, **counts, "warnings": 0, **lists, "sheet_warnings": [], "sheet_notes": []}


def problem_of(reason: str, message: str, **facts: Any) -> Problem:
    text = message if isinstance(message, Message) else Message(message)
    problem: Problem = pack({"reason": reason, "message": text, **facts})
    return problem


def problem_of_plan(sheets: Sequence[Mapping[str, Any]], *, has_tables: bool) -> Problem | None:
    """Why a plan cannot be applied as a whole."""
    if not has_tables:
        titles = [Term.of(resource.titles) for resource in IMPORTABLE.values()]
        names = Term(", ".join(titles), "、".join(title.chinese for title in titles))
        message = tr("No sheet was recognised. Say for each sheet what it holds: {resources}.", resources=names)
        return problem_of("no_table", message)
    refused = [sheet["sheet"] for sheet in sheets if sheet["problems"]]
    if refused:
        message = tr(
            "Some columns have errors: say in the plan what they hold, or correct the file. Sheets: {sheets}.",
            sheets=", ".join(refused[:MAX_SHEETS]),
        )
        return problem_of("invalid_rows", message)
    wrong = sum(sheet["error"] for sheet in sheets)
    if wrong:
        message = tr(
            "{count} of {total} rows have errors: correct them in the plan or in the file, or apply only the others.",
            count=wrong,
            total=sum(sheet[action.value] for sheet in sheets for action in RowAction),
        )
        return problem_of("invalid_rows", message)
    return None


def problem_of_applied(sheets: Sequence[Mapping[str, Any]]) -> Problem | None:
    """What an applied import has left out: its rows with errors, which `on_error=skip` allows."""
    count = sum(sheet["error"] for sheet in sheets)
    if not count:
        return None
    message = tr(
        "{count} rows with errors were left out, the others are applied. Correct these rows and import them again.",
        count=count,
    )
    return problem_of("rows_left_out", message)


def missing_fields(table: Table) -> list[str]:
    """The required fields that no column, no constant and no fallback fills."""
    filled = {column.field.name for column in table.columns if column.field} | set(table.settings.fallbacks)
    return [item.name for item in table.resource.fields.values() if item.required and item.name not in filled]


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


def _groups(parsed: ParsedTable) -> list[dict[str, Any]]:
    """The errors and warnings of all rows, each rule and column once: errors first, and the most frequent first."""
    errors = MessageGroups()
    for row in parsed.rows:
        for each in row.errors:
            key = (each["rule"], column_letters(each), each["field"], None)
            group = errors.of(key, each["column"], each["message"])
            group.add(row.number, each["value"])
    by_severity = (("error", errors), ("warning", parsed.table.row_warnings))
    groups = [_group(severity, key, groups_of[key]) for severity, groups_of in by_severity for key in groups_of]
    return sorted(groups, key=lambda group: (group["severity"] != "error", -group["count"]))[:MAX_GROUPS]


def _group(severity: str, key: GroupKey, group: MessageGroup) -> dict[str, Any]:
    rule, letters, name, _ = key
    return {
        "severity": severity,
        "rule": rule,
        "column": letters,
        "title": group.title,
        "field": name,
        "message": pack(group.message),
        "count": group.count,
        "listed": group.count if severity == "error" else min(group.count, MAX_WARNINGS),
        "rows": group.rows,
        "values": [{"value": value, "count": count} for value, count in group.values.most_common(MAX_LISTED_VALUES)],
    }


def _notes(notes: Sequence[Message]) -> list[dict[str, Any]]:
    return [{"rule": note.rule, "message": pack(note)} for note in notes]
