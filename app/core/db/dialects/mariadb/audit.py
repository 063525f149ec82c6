"""What is asked of the audit log on MariaDB, which computes the terms of each record that it reads."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from app.core.db.dialects.mariadb.statements import any_of

TAKE_PLACES = sa.text("CALL take_places(:count)")


def select_macs(places: Sequence[tuple[str, int, int]]) -> tuple[sa.TextClause, Mapping[str, Any]]:
    """A query of (resource type, id, version, MAC) of the records at these places, and its parameters."""
    parameters: dict[str, Any] = {}
    wanted = []
    for at, (kind, identity, version) in enumerate(places):
        parameters |= {f"k{at}": kind, f"i{at}": identity, f"v{at}": version}
        wanted.append(f"(:k{at}, :i{at}, :v{at})")
    statement = (
        "SELECT resource_type, resource_id, version, mac FROM audit_logs "  # noqa: S608 - names of ours
        f"WHERE (resource_type, resource_id, version) IN ({', '.join(wanted)})"
    )
    return sa.text(statement), parameters


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
