"""Replays the audit log from its beginning, and compares the result with the tables."""

from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.catalog import CATALOG
from app.core.audit.declaration import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.values import as_json

Rows = dict[tuple[str, int], dict[str, Any]]
"""The version and the recorded columns of each object, as JSON, by its type and id."""

logs = AuditLog.__table__


def replay_log(app: Flask) -> Rows:
    """The objects that the log describes. Asserts one record per version, whose old values are the current ones."""
    rows: Rows = {}
    versions: dict[tuple[str, int], int] = {}
    order = (logs.c.resource_type, logs.c.resource_id, logs.c.version)
    with app.app_context():
        records = db.session.execute(sa.select(logs).where(logs.c.version.is_not(None)).order_by(*order)).all()
    for record in records:
        key = (record.resource_type, record.resource_id)
        versions[key] = versions.get(key, 0) + 1
        assert record.version == versions[key], f"{key} has no record of version {versions[key]}."
        if record.action == "delete":
            snapshot = {name: record.snapshot[name] for name in _names(record.resource_type)}
            assert snapshot == without(rows.pop(key), "version"), key
            continue
        values = rows.setdefault(key, dict.fromkeys(_names(record.resource_type)))
        for name, change in record.changes.items():
            if name in values:
                assert change["old"] == values[name], (key, record.version, name)
                values[name] = change["new"]
        values["version"] = record.version
    return rows


def read_tables(app: Flask) -> Rows:
    """The objects in the tables."""
    with app.app_context():
        return {
            (name, row["id"]): {column: as_json(row[column]) for column in (*_names(name), "version")}
            for name, resource in CATALOG.items()
            for row in db.session.execute(sa.select(resource.model.__table__)).mappings()
        }


def assert_log_matches_tables(app: Flask) -> None:
    """Assert that the log has one record per version of each object, and that a replay gives the tables."""
    assert replay_log(app) == read_tables(app)


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _names(resource_type: str) -> list[str]:
    columns = audited_columns(CATALOG[resource_type].model)
    return [name for name, column in columns.items() if not column.info.get("secret")]
