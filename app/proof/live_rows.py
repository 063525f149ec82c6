"""Comparison of the live rows with the log: each row must equal the replay of its records."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy as sa
from flask import Flask, current_app

from app.core.audit.declaration import Audited, WithMac, audited_columns, guarded_columns
from app.core.audit.mac import canonical_time, keyring, mac_of_values
from app.core.audit.models import STORED
from app.core.db.models import Base
from app.core.values import as_json, same_json
from app.proof.report import FindingKind, Report

Row = dict[str, Any]
_END = (float("inf"), None)
_KEY_ID_CHARS = 8

FETCH_ROWS = 2_000
"""Rows that are fetched together."""


def compare_rows(connection: sa.Connection, report: Report) -> None:
    """Replay the records of every audited object and report each row that differs from the result."""
    report.rows = 0
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: str(mapper.local_table)):
        if issubclass(mapper.class_, Audited):
            _compare_table(connection, mapper.class_, report)
        elif issubclass(mapper.class_, WithMac):
            _compare_macs(connection, mapper.class_, report)
    for compare in current_app.extensions["row_comparisons"]:
        compare(connection, report)


def init_app(app: Flask, comparisons: Sequence[Callable[[sa.Connection, Report], None]]) -> None:
    """Give an application the comparisons of features whose rows follow from the records of other rows."""
    app.extensions["row_comparisons"] = comparisons


def _compare_macs(connection: sa.Connection, model: Any, report: Report) -> None:
    """Compare the guarded columns of rows that no record describes with the MACs that they carry."""
    table: sa.Table = model.__table__
    for row in connection.execution_options(yield_per=FETCH_ROWS).execute(sa.select(table)).mappings():
        if not is_mac_of(row["mac"], table.name, row, model.guarded_columns, report):
            key = ", ".join(str(row[column.key]) for column in table.primary_key)
            message = f"The row {key} was inserted or changed past the application: its MAC is wrong."
            report.add(FindingKind.ROW_CHANGED, message, resource_type=table.name)


def is_mac_of(mac: str | None, table: str, row: Any, names: tuple[str, ...], report: Report) -> bool:
    """Whether a row has these values; a key that is not known here is a doubt."""
    key_id = str(mac).partition(":")[0]
    for key in keyring():
        if key.id == key_id:
            return mac_of_values(key, table, row, names) == mac
    report.add_doubt("Rows carry MACs of a key that is not known here: see AUDIT_KEYS_BEFORE.")
    return mac is not None and len(key_id) == _KEY_ID_CHARS


def _compare_table(connection: sa.Connection, model: Any, report: Report) -> None:
    """Merge the rows and the records of a table, both in the order of the object's id."""
    table: sa.Table = model.__table__
    rows = _select_rows(connection, table)
    row_id, row = next(rows, _END)
    for object_id, records in groupby(_select_records(connection, table.name), key=itemgetter(0)):
        while row_id < object_id:
            _report_unrecorded(report, table.name, row_id)
            row_id, row = next(rows, _END)
        if row_id == object_id:
            report.rows = (report.rows or 0) + 1
            _compare_row(model, object_id, list(records), row, report)
            row_id, row = next(rows, _END)
        else:
            _compare_row(model, object_id, list(records), None, report)
    while row is not None:
        _report_unrecorded(report, table.name, row_id)
        row_id, row = next(rows, _END)


def _report_unrecorded(report: Report, table: str, object_id: Any) -> None:
    report.add(FindingKind.ROW_INSERTED, "This object has no record.", resource_type=table, resource_id=object_id)


def _select_rows(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[Any, Row | None]]:
    names = table.columns.keys()
    statement = sa.select(table).order_by(table.c.id)
    for values in connection.execution_options(yield_per=FETCH_ROWS).execute(statement):
        # A mapping of the library takes twice as long, for every row of the database.
        row = dict(zip(names, values, strict=True))
        yield row["id"], row


def _select_records(connection: sa.Connection, table: str) -> Iterator[Any]:
    """(resource_id, version, action, created_at, changes, id, state_mac), in the order of object and version."""
    log = STORED.c
    created_at = sa.type_coerce(log.created_at, sa.types.NullType()).label("created_at")
    statement = (
        sa.select(log.resource_id, log.version, log.action, created_at, log.changes, log.id, log.state_mac)
        .where(log.resource_type == table, log.resource_id.is_not(None), log.version.is_not(None))
        .order_by(log.resource_id, log.version)
    )
    yield from connection.execution_options(yield_per=FETCH_ROWS).execute(statement)


def _compare_row(model: Any, object_id: int, records: Sequence[Any], row: Row | None, report: Report) -> None:
    details: dict[str, Any] = {"resource_type": model.__table__.name, "resource_id": object_id}
    # Indexed and unpacked: the named attributes of a row take several times as long, for every record of the log.
    versions = [record[1] for record in records]
    if versions != list(range(1, len(versions) + 1)):
        missing = next(version for version in range(1, len(versions) + 2) if version not in versions)
        report.add(FindingKind.RECORD_MISSING, f"Version {missing} of this object has no record.", **details)
        return
    _, _, action, _, _, record_id, _ = records[-1]
    details["record_id"] = record_id
    is_deleted = action == "delete"
    if is_deleted and row is not None:
        message = f"According to record {record_id} this object was deleted, but its row exists."
        report.add(FindingKind.ROW_INSERTED, message, **details)
    elif row is None and not is_deleted:
        message = f"According to record {record_id} this object exists, but its row is missing."
        report.add(FindingKind.ROW_MISSING, message, **details)
    elif row is not None and (names := _differing_columns(model, records, row, report)):
        message = f"The row differs from the log in {', '.join(names)}."
        report.add(FindingKind.ROW_CHANGED, message, **details)


def _differing_columns(model: Any, records: Sequence[Any], row: Row, report: Report) -> list[str]:
    try:
        values = _replay(records)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        # A record is damaged; the verification of the tree reports it.
        return []
    guarded = guarded_columns(model)
    names = []
    for name, column in audited_columns(model).items():
        if name in guarded:
            continue
        value = as_json(row[name])
        if not (same_json(value, values[name]) if name in values else _is_default(column, value)):
            names.append(name)
    if guarded and not is_mac_of(records[-1].state_mac, model.__table__.name, row, guarded, report):
        names.append(" or ".join(guarded))
    return names + _differing_stamps(records, row)


def _differing_stamps(records: Sequence[Any], row: Row) -> list[str]:
    names = []
    _, _, _, first_at, *_ = records[0]
    _, version, _, newest_at, *_ = records[-1]
    if row["version"] != version:
        names.append("version")
    # A restored object keeps the time of its first creation.
    for name, time in (("created_at", first_at), ("updated_at", newest_at)):
        if name in row and canonical_time(row[name]) != _canonical(time):
            names.append(name)
    return names


def _replay(records: Sequence[Any]) -> dict[str, Any]:
    """The values of an object after all of its records; a deletion discards what came before."""
    values: dict[str, Any] = {}
    for _, _, action, _, changes, *_ in records:
        if action == "delete":
            values.clear()
            continue
        for name, change in orjson.loads(changes).items():
            values[name] = change["new"]
    return values


def _canonical(time: Any) -> str:
    return canonical_time(time if not isinstance(time, str | bytes) else str(time))


def _is_default(column: sa.Column[Any], value: Any) -> bool:
    """Whether this is the value of a column that a migration added after an object's last record."""
    default: Any = column.default
    if value is None or default is None:
        return value is None
    return bool(value == as_json(default.arg(None) if default.is_callable else default.arg))
