"""The live rows beside the log: each must be what its records make of it, from the first one on."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy as sa

from app.core.audit.changes import audited_columns
from app.core.audit.mac import canonical_time
from app.core.audit.models import STORED
from app.core.audit.recorder import Audited
from app.core.db.models import Base
from app.core.values import as_json
from app.proof.findings import Kind, Report

Row = dict[str, Any]
_END = (float("inf"), None)

AT_ONCE = 2_000
"""Rows that are fetched together."""


def compare(connection: sa.Connection, report: Report) -> None:
    """Replay the records of every audited object and report each row that is not what they end in."""
    report.rows = 0
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: str(mapper.local_table)):
        if issubclass(mapper.class_, Audited):
            _compare_table(connection, mapper.class_, report)


def _compare_table(connection: sa.Connection, model: Any, report: Report) -> None:
    table: sa.Table = model.__table__
    live = _rows(connection, table)
    row = next(live, _END)
    for identity, records in groupby(_records(connection, table.name), key=itemgetter(0)):
        while row[0] < identity:
            _report_unrecorded(report, table.name, row[0])
            row = next(live, _END)
        found = row[1] if row[0] == identity else None
        if found is not None:
            report.rows = (report.rows or 0) + 1
            row = next(live, _END)
        _compare_row(model, identity, list(records), found, report)
    while row is not _END:
        _report_unrecorded(report, table.name, row[0])
        row = next(live, _END)


def _report_unrecorded(report: Report, kind: str, identity: Any) -> None:
    report.find(Kind.ROW_INSERTED, "No record tells of this object.", resource_type=kind, resource_id=identity)


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[Any, Row | None]]:
    statement = sa.select(table).order_by(table.c.id)
    for row in connection.execution_options(yield_per=AT_ONCE).execute(statement).mappings():
        yield row["id"], dict(row)


def _records(connection: sa.Connection, kind: str) -> Iterator[Sequence[Any]]:
    """(object, version, action, time, changes, record) of a type, in the order of the objects' versions."""
    log = STORED.c
    at = sa.type_coerce(log.created_at, sa.types.NullType())
    statement = (
        sa.select(log.resource_id, log.version, log.action, at, log.changes, log.id)
        .where(log.resource_type == kind, log.resource_id.is_not(None), log.version.is_not(None))
        .order_by(log.resource_id, log.version)
    )
    yield from connection.execution_options(yield_per=AT_ONCE).execute(statement)


def _compare_row(model: Any, identity: int, records: list[Sequence[Any]], row: Row | None, report: Report) -> None:
    where = {"resource_type": model.__tablename__, "resource_id": identity}
    versions = [record[1] for record in records]
    if versions != list(range(1, len(versions) + 1)):
        missing = next(at for at in range(1, len(versions) + 2) if at not in versions)
        report.find(Kind.RECORD_MISSING, f"Version {missing} of this object has no record.", **where)
        return
    *_, newest = records
    is_gone = newest[2] == "delete"
    if is_gone and row is not None:
        message = f"The log says that this object was deleted (record {newest[5]})."
        report.find(Kind.ROW_INSERTED, message, record_id=newest[5], **where)
    elif row is None and not is_gone:
        message = f"The log says that this object is there (record {newest[5]})."
        report.find(Kind.ROW_MISSING, message, record_id=newest[5], **where)
    elif row is not None:
        wrong = _differences(model, records, row)
        if wrong:
            message = f"The log says otherwise of {', '.join(wrong)}."
            report.find(Kind.ROW_CHANGED, message, record_id=newest[5], **where)


def _differences(model: Any, records: list[Sequence[Any]], row: Row) -> list[str]:
    try:
        known = _replayed(records)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        # The record is damaged, and named as such.
        return []
    wrong = []
    for name, column in audited_columns(model).items():
        if column.info.get("secret"):
            continue
        now = as_json(row[name])
        if name in known:
            if now != known[name]:
                wrong.append(name)
        elif now is not None and now != _added_with(column):
            wrong.append(name)
    if row["version"] != records[-1][1]:
        wrong.append("version")
    if canonical_time(row["updated_at"]) != _time(records[-1][3]):
        wrong.append("updated_at")
    return wrong


def _replayed(records: list[Sequence[Any]]) -> dict[str, Any]:
    """The values that the records of an object end in; what came before a deletion is over."""
    known: dict[str, Any] = {}
    for _, _, action, _, changes, _ in records:
        if action == "delete":
            known.clear()
            continue
        for name, change in orjson.loads(changes).items():
            known[name] = change["new"]
    return known


def _time(stored: Any) -> str:
    return canonical_time(stored if not isinstance(stored, str | bytes) else str(stored))


def _added_with(column: sa.Column[Any]) -> Any:
    """What a row has in a column that came after its last record: the migration gave it the default."""
    default: Any = column.default
    if default is None:
        return None
    return as_json(default.arg(None) if default.is_callable else default.arg)
