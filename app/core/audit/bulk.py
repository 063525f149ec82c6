"""Bulk audit: the records of many new objects, made column by column without querying the database.

The first record of an object is linked to none before it, so whatever thread knows the origin can make it.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import orjson
import sqlalchemy as sa

from app.core.audit import mac
from app.core.audit.declaration import audited_columns
from app.core.audit.models import COLUMNS, STORED
from app.core.audit.recorder import entry
from app.core.db.statements import BoundRows, bind_rows
from app.core.values import as_json, json_text

Columns = Mapping[str, Sequence[Any]]
"""The values of each column of some rows."""


def creation_records(model: Any, columns: Columns) -> BoundRows:
    """The records of new rows, which are given with all their columns and were created at one time.

    It says what the session's listener would: every value that there is, defaults too.
    """
    table: sa.Table = model.__table__
    of_all = entry("create", table.name, None, None, version=1, changes={}, at=columns["created_at"][0])
    common = dict(zip(COLUMNS, of_all, strict=True))
    own = {
        "resource_id": columns["id"],
        "resource_name": [str(name)[:255] for name in columns[model.label]],
        "changes": _changes(model, columns),
    }
    macs = list(mac.first_macs(common, own))
    stored = [own.get(name) or repeat(common[name], len(macs)) for name in COLUMNS]
    return bind_rows(STORED, (*COLUMNS, "mac"), zip(*stored, macs, strict=True))


def _changes(model: Any, columns: Columns) -> list[str]:
    """The `changes` of each record, as JSON."""
    members = [
        _members(name, ["changed" if value is not None else None for value in columns[name]])
        if column.info.get("secret")
        else _members(name, columns[name])
        for name, column in audited_columns(model).items()
    ]
    return [f"{{{','.join(filter(None, row))}}}" for row in zip(*members, strict=True)]


def _members(name: str, values: Sequence[Any]) -> list[str]:
    """One column's member of the JSON object for each row; empty where there is no value."""
    begin = f'{json_text(name)}:{{"old":null,"new":'

    def member(value: Any) -> str:
        return "" if value is None else f"{begin}{json_text(as_json(value))}}}"

    try:
        different = [value for value in set(values) if value is not None]
    except TypeError:
        # JSON is not hashable.
        return list(map(member, values))
    # All values at once, one a line, in half the time of one by one: in JSON no text has the end of a line in it.
    lines = orjson.dumps(list(map(as_json, different)), option=orjson.OPT_INDENT_2).decode().split("\n")[1:-1]
    by_value: dict[Any, str] = {None: ""}
    by_value.update((value, f"{begin}{line.strip(' ,')}}}") for value, line in zip(different, lines, strict=True))
    return [by_value[value] for value in values]
