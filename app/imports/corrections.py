"""Correct how the stored file of an import is understood, and plan it again."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from app.catalog import IMPORTABLE
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Invalid, NotFound
from app.core.jobs.queue import enqueue
from app.core.messages import tr
from app.imports.models import CORRECTABLE, STATUS_LABELS, Import, ImportFile, ImportPhase, ImportStatus
from app.imports.pipeline import PLAN
from app.imports.plan.store import delete_plan
from app.imports.report.models import ImportReport
from app.imports.settings import FILE_SETTINGS, IGNORE, OF_RESOURCE, SheetSettings, merge_settings, read_settings
from app.imports.settings_checks import (
    Errors,
    check_file_settings,
    check_resource_settings,
    find_target,
)
from app.resource import Resource
from app.sheets.cells import column_index, letters
from app.users.models import User

MAX_LISTED = 12


class NotCorrectable(Conflict):
    reason, message = "not_correctable", tr("This import cannot be understood in another way now.")


def correct(import_: Import, correction: Mapping[str, Any]) -> None:
    """Change the settings of a locked import and queue its plan; with `apply`, it is applied where no row is wrong.

    Raises NotCorrectable where the import has been applied or a job runs, NotFound where its file has been deleted,
    and Invalid, naming every setting that is wrong.
    """
    if import_.status not in CORRECTABLE:
        raise NotCorrectable(
            tr("This import is {status}: how it is understood cannot be changed.", status=STATUS_LABELS[import_.status])
        )
    if not db.session.scalar(sa.select(sa.exists().where(ImportFile.import_id == import_.id))):
        raise NotFound(tr("The file of this import has been deleted."))
    patch = {name: correction[name] for name in FILE_SETTINGS if name in correction}
    settings = merge_settings(import_.settings, patch)
    errors: dict[str, list[str]] = {}
    for name, message in _errors(import_, settings, patch):
        errors.setdefault(name, []).append(message)
    if errors:
        raise Invalid(errors=errors)
    import_.settings, import_.revision = settings, import_.revision + 1
    import_.encoding = correction.get("encoding", import_.encoding)
    import_.dates = correction.get("dates", import_.dates)
    import_.apply_at_once, import_.problem, import_.finished_at = correction["apply"], None, None
    import_.status, import_.phase, import_.done, import_.total = ImportStatus.QUEUED, ImportPhase.QUEUED, 0, 0
    # What is shown is what would be applied: no plan is shown until the new one is there.
    delete_plan(import_.id)
    reports = ImportReport.__table__
    db.session.execute(sa.delete(reports).where(reports.c.import_id == import_.id))
    enqueue(PLAN, import_.id)


def _errors(import_: Import, settings: Mapping[str, Any], patch: Mapping[str, Any]) -> Errors:
    """Errors of settings after a change, in the sheets that it changes."""
    owner = db.session.get(User, import_.created_by_id) if import_.created_by_id else None
    yield from check_file_settings(settings, owner.role if owner else None)
    merged = read_settings(settings)
    facts = {sheet["sheet"]: sheet for sheet in import_.sheets}
    for name in patch.get("sheets") or {}:
        if name not in facts:
            yield (
                f"sheets.{name}",
                tr(
                    "There is no such sheet. The file has: {sheets}.",
                    rule="unknown",
                    sheets=", ".join(list(facts)[:MAX_LISTED]),
                ),
            )
        elif name in merged.sheets:
            for setting, message in _sheet_errors(merged.sheets[name], facts[name]):
                yield f"sheets.{name}.{setting}", message


def _sheet_errors(settings: SheetSettings, facts: Mapping[str, Any]) -> Errors:
    yield from _row_errors(settings, facts)
    if settings.resource is not None and settings.resource not in IMPORTABLE:
        yield "resource", tr("Must be one of {choices}.", rule="choice", choices=", ".join(IMPORTABLE))
        return
    resource = IMPORTABLE.get(settings.resource or facts["resource"] or "")
    if resource is not None:
        yield from _column_errors(settings, resource, facts["column_count"])
        yield from check_resource_settings(settings, resource)
    elif any(getattr(settings, name) for name in OF_RESOURCE):
        yield "resource", tr("Say first which resource the sheet holds.", rule="required")


def _row_errors(settings: SheetSettings, facts: Mapping[str, Any]) -> Errors:
    rows = facts["row_count"]
    header = settings.header_row or facts["header_row"] or 0
    if settings.header_row is not None and not 1 <= settings.header_row <= rows:
        yield "header_row", tr("The sheet has {rows} rows.", rule="range", rows=rows)
    if settings.last_row is not None and not header < settings.last_row <= rows:
        yield (
            "last_row",
            tr(
                "Must be a row below the header (row {header}); the sheet has {rows} rows.",
                rule="range",
                header=header,
                rows=rows,
            ),
        )
    beyond = [row for row in settings.skip_rows if not 1 <= row <= rows]
    if beyond:
        yield (
            "skip_rows",
            tr("The sheet has {rows} rows: there is no row {row}.", rule="range", rows=rows, row=beyond[0]),
        )


def _column_errors(settings: SheetSettings, resource: Resource, count: int) -> Errors:
    filled: dict[str, str] = {}
    for name, target in settings.columns.items():
        if column_index(name) >= count:
            yield f"columns.{name}", tr("The sheet has the columns A to {last}.", rule="range", last=letters(count - 1))
        elif target != IGNORE:
            column, error = find_target(resource, target)
            if column is None:
                yield f"columns.{name}", error
            elif (first := filled.setdefault(column.full_target or "", name)) != name:
                yield (
                    f"columns.{name}",
                    tr("Column {column} fills {field} already.", rule="unique", column=first, field=target),
                )
