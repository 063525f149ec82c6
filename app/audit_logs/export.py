"""Export of records as a workbook, CSV or NDJSON, in constant memory."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Response

from app.audit_logs.declaration import resource
from app.audit_logs.pages import count, select_all
from app.audit_logs.query import AuditQuery
from app.core.audit import recorder
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db, writing
from app.core.http.envelope import dumps
from app.core.http.file_responses import XLSX, file_answer, stream_answer
from app.core.values import as_json
from app.resource.fields import Field, Kind
from app.sheets.writers import MAX_SHEET_ROWS, OutputColumn, OutputSheet, TooManyRows, csv_lines, write_workbook

CONTENT_TYPES = {"xlsx": XLSX, "csv": "text/csv", "ndjson": "application/x-ndjson"}
CHUNK_BYTES = 64 * 1024
"""The least that is sent at once: each chunk costs the server as much as formatting a hundred lines."""


def export(query: AuditQuery, kind: str, query_string: str) -> Response:
    """Send all matching records as a file. The export is recorded itself, and not part of the file."""
    last_id = db.session.scalar(sa.select(sa.func.max(AuditLog.id))) or 0
    name = f"audit-log.{kind}"
    items = select_all(query, last_id)
    if kind == "xlsx":
        if count(query, MAX_SHEET_ROWS)[1]:
            raise TooManyRows
        sheet = OutputSheet(resource.titles[0], _columns(), items)

        def write(path: Path) -> Any:
            return write_workbook(path, [sheet])

        response, _ = file_answer(write, name, XLSX)
    else:
        lines = _as_csv(items) if kind == "csv" else (dumps(item) + b"\n" for item in items)
        response = stream_answer(_in_chunks(lines), name, CONTENT_TYPES[kind])
    with writing():
        recorder.record("export", resource.name, None, name, {"query": {"old": None, "new": query_string}})
    return response


def _columns() -> list[OutputColumn]:
    return [_column(field) for field in resource.fields.values()]


def _column(field: Field) -> OutputColumn:
    if field.kind is Kind.DOCUMENT:
        return OutputColumn(field.name, lambda item: dumps(item[field.name]).decode() if item[field.name] else None)
    if field.kind is Kind.TIME:
        return OutputColumn(field.name, lambda item: as_json(item[field.name]))
    return OutputColumn(field.name, lambda item: item[field.name])


def _as_csv(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    # Excel recognises UTF-8 by the byte order mark.
    yield BOM_UTF8
    for line in csv_lines(OutputSheet(resource.titles[0], _columns(), items)):
        yield line.encode()


def _in_chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
