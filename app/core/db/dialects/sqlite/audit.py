"""What is asked of the audit log on SQLite, which computes the terms of each record that it reads."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from app.core.db.dialects.sqlite.statements import any_of

# SQLite has one writer, so one chain is enough.
TAKE_PLACES = sa.text(
    "INSERT INTO audit_event_chains (id, length) VALUES (1, :count) "
    "ON CONFLICT (id) DO UPDATE SET length = length + excluded.length "
    "RETURNING id, length - :count AS length, "
    "(SELECT mac FROM audit_logs WHERE event_chain = audit_event_chains.id "
    "AND event_number = audit_event_chains.length - :count LIMIT 1) AS mac, (SELECT min(name) FROM audit_origin) AS log"
)
# CROSS JOIN fixes the join order: SQLite must not scan the log.
_MACS = sa.text(
    "SELECT a.resource_type, a.resource_id, a.version, a.mac FROM json_each(:places) wanted CROSS JOIN audit_logs a "
    "ON a.resource_type = json_extract(wanted.value, '$[0]') "
    "AND a.resource_id = json_extract(wanted.value, '$[1]') AND a.version = json_extract(wanted.value, '$[2]')"
)


def select_macs(places: Sequence[tuple[str, int, int]]) -> tuple[sa.TextClause, Mapping[str, Any]]:
    """A query of (resource type, id, version, MAC) of the records at these places, and its parameters."""
    return _MACS, {"places": orjson.dumps(places).decode()}


def has_all_terms(changes: sa.ColumnElement[Any], terms: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has all of these terms."""
    return sa.and_(*(has_any_term(changes, [term]) for term in terms))


def has_any_term(changes: sa.ColumnElement[Any], terms: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has one of these terms."""
    each = sa.func.json_each(sa.func.audit_terms(changes)).table_valued("value")
    return sa.exists().select_from(each).where(each.c.value.in_(terms))


def lost_one(changes: sa.ColumnElement[Any], name: str, ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Whether a record took one of these ids from a column."""
    return any_of(sa.func.json_extract(changes, f"$.{name}.old"), ids, sa.BigInteger())
