"""What is asked of the audit log on PostgreSQL, which has an index of the terms of all records but creations."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

_TAKEN = (
    "id, length - :count AS length, (SELECT mac FROM audit_logs WHERE event_chain = audit_event_chains.id "
    "AND event_number = audit_event_chains.length - :count LIMIT 1) AS mac, (SELECT min(name) FROM audit_origin) AS log"
)
# SKIP LOCKED does not skip what this transaction has locked: all its events are in one chain.
TAKE_PLACES = sa.text(
    "WITH taken AS (UPDATE audit_event_chains SET length = length + :count WHERE id = "  # noqa: S608 - text of ours
    "(SELECT id FROM audit_event_chains ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) "
    f"RETURNING {_TAKEN}), "
    "begun AS (INSERT INTO audit_event_chains (length) SELECT :count WHERE NOT EXISTS (SELECT FROM taken) "
    f"RETURNING {_TAKEN}) "
    "SELECT * FROM taken UNION ALL SELECT * FROM begun"
)
_MACS = sa.text(
    "SELECT a.resource_type, a.resource_id, a.version, a.mac FROM audit_logs a "
    "JOIN unnest(CAST(:kinds AS text[]), CAST(:identities AS bigint[]), CAST(:versions AS integer[])) "
    "AS wanted (kind, identity, version) "
    "ON a.resource_type = kind AND a.resource_id = identity AND a.version = wanted.version"
)


def select_macs(places: Sequence[tuple[str, int, int]]) -> tuple[sa.TextClause, Mapping[str, Any]]:
    """A query of (resource type, id, version, MAC) of the records at these places, and its parameters."""
    kinds, identities, versions = map(list, zip(*places, strict=True))
    return _MACS, {"kinds": kinds, "identities": identities, "versions": versions}


def has_all_terms(changes: sa.ColumnElement[Any], terms: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has all of these terms."""
    clause: sa.ColumnElement[bool] = _terms(changes).contains(_texts(terms))
    return clause


def has_any_term(changes: sa.ColumnElement[Any], terms: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has one of these terms."""
    # As a subquery: for a list of many literal terms the planner expects a quarter of the log, for values it cannot
    # see only a few records.
    clause: sa.ColumnElement[bool] = _terms(changes).overlap(sa.select(_texts(terms)).scalar_subquery())
    return clause


def lost_one(changes: sa.ColumnElement[Any], name: str, ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Whether a record took one of these ids from a column."""
    clause: sa.ColumnElement[bool] = _terms(changes).overlap(_texts([f"{name}<{one}" for one in ids]))
    return clause


def _terms(changes: sa.ColumnElement[Any]) -> Any:
    return sa.func.audit_terms(changes, type_=ARRAY(sa.Text))


def _texts(values: Sequence[str]) -> sa.ColumnElement[Any]:
    return sa.literal(list(values), ARRAY(sa.Text))
