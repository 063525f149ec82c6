"""What is asked of the audit log on MariaDB, which computes the terms of each record that it reads."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from app.core.db.dialects.mariadb.statements import any_of

TAKE_PLACES = sa.text("CALL take_places(:count)")


SELECT_MACS = sa.text(
    "SELECT logs.resource_type, logs.resource_id, logs.version, logs.mac FROM JSON_TABLE(:places, '$[*]' COLUMNS ("
    "kind VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$[0]', "
    "id BIGINT PATH '$[1]', version INTEGER PATH '$[2]')) AS places STRAIGHT_JOIN audit_logs AS logs "
    "ON logs.resource_type = places.kind AND logs.resource_id = places.id AND logs.version = places.version"
)
"""One look-up for each place. Of many rows in IN, the server makes ranges for seconds, or reads all records."""


def select_macs(places: Sequence[tuple[str, int, int]]) -> tuple[sa.TextClause, Mapping[str, Any]]:
    """A query of (resource type, id, version, MAC) of the records at these places, and its parameters."""
    return SELECT_MACS, {"places": orjson.dumps(places).decode()}


def has_all_terms(changes: sa.ColumnElement[Any], terms: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has all of these terms."""
    return sa.func.json_contains(sa.func.audit_terms(changes), _listed(terms)) == 1


def has_any_term(changes: sa.ColumnElement[Any], terms: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has one of these terms."""
    return sa.func.json_overlaps(sa.func.audit_terms(changes), _listed(terms)) == 1


def lost_one(changes: sa.ColumnElement[Any], name: str, ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Whether a record took one of these ids from a column."""
    old = sa.func.json_value(changes, f"$.{name}.old")
    return any_of(sa.cast(old, sa.BigInteger), ids, sa.BigInteger())


def _listed(terms: Sequence[str]) -> sa.ColumnElement[Any]:
    return sa.literal(orjson.dumps(list(terms)).decode(), sa.Text())
