"""Records out: a workbook, CSV, or JSON line by line, in constant memory however many there are."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Response

from app.audit_logs.declaration import resource
from app.audit_logs.query import Question, count, walk_all
from app.core.audit import recorder
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db, writing
from app.core.http.envelope import dumps
from app.core.http.file_responses import XLSX, file_answer, stream_answer
from app.core.values import as_json
from app.exports.columns import Column
from app.exports.files import MOST_ROWS, Sheet, TooManyRows, csv_lines, write_workbook
from app.resource.fields import Field, Kind

CONTENT_TYPES = {"xlsx": XLSX, "csv": "text/csv", "ndjson": "application/x-ndjson"}
PART = 64 * 1024
"""Bytes that are sent at once, at least."""


def export(question: Question, kind: str, asked: str) -> Response:
    """Send all records that match as a file of this kind; that somebody took it is recorded first, and not in it."""
    until = db.session.scalar(sa.select(sa.func.max(AuditLog.id))) or 0
    name = f"audit-log.{kind}"
    items = walk_all(question, until)
    if kind == "xlsx":
        if count(question, MOST_ROWS)[1]:
            raise TooManyRows
        sheet = Sheet(resource.titles[0], _columns(), items)

        def write(path: Path) -> Any:
            return write_workbook(path, [sheet])

        response, _ = file_answer(write, name, XLSX)
    else:
        texts = _as_csv(items) if kind == "csv" else (dumps(item) + b"\n" for item in items)
        response = stream_answer(_gathered(texts), name, CONTENT_TYPES[kind])
    with writing():
        recorder.record("export", resource.name, None, name, {"query": {"old": None, "new": asked}})
    return response


def _columns() -> list[Column]:
    return [_column(field) for field in resource.fields.values()]


def _column(field: Field) -> Column:
    if field.kind is Kind.DOCUMENT:
        return Column(field.name, lambda item: dumps(item[field.name]).decode() if item[field.name] else None)
    if field.kind is Kind.TIME:
        return Column(field.name, lambda item: as_json(item[field.name]))
    return Column(field.name, lambda item: item[field.name])


def _as_csv(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    # The mark tells Excel that it is UTF-8.
    yield BOM_UTF8
    for line in csv_lines(Sheet(resource.titles[0], _columns(), items)):
        yield line.encode()


def _gathered(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Larger parts of the same: each that is sent costs as much as a hundred lines."""
    part = bytearray()
    for text in texts:
        part += text
        if len(part) >= PART:
            yield bytes(part)
            part.clear()
    yield bytes(part)
