"""The records of many creations, made column by column and without asking the database.

The first record of an object is linked to none before it, so whatever thread knows the origin can make it.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import sqlalchemy as sa

from app.core.audit import mac
from app.core.audit.changes import audited_columns
from app.core.audit.models import COLUMNS, STORED
from app.core.audit.recorder import entry
from app.core.db.statements import BoundRows, bind_rows
from app.core.values import as_json, json_text

Columns = Mapping[str, Sequence[Any]]
"""The values of each column of some rows."""


def creation_records(model: Any, columns: Columns) -> BoundRows:
    """A record for each of some new rows, given with all their columns and created at one time.

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
    """What each record says has changed, as JSON."""
    said = [
        _said(name, ["changed" if value is not None else None for value in columns[name]])
        if column.info.get("secret")
        else _said(name, columns[name])
        for name, column in audited_columns(model).items()
    ]
    return [f"{{{','.join(filter(None, row))}}}" for row in zip(*said, strict=True)]


def _said(name: str, values: Sequence[Any]) -> list[str]:
    """The member of the JSON object that tells of a column; empty where there is no value."""
    begin = f'{json_text(name)}:{{"old":null,"new":'

    def say(value: Any) -> str:
        return "" if value is None else f"{begin}{json_text(as_json(value))}}}"

    try:
        known = {value: say(value) for value in set(values)}
    except TypeError:
        # JSON is not hashable.
        return list(map(say, values))
    return [known[value] for value in values]
