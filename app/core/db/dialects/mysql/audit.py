"""What is asked of the audit log on MySQL: as on MariaDB, in its own collation."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.dialects.mariadb import audit as mariadb
from app.core.db.dialects.mariadb.audit import TAKE_PLACES, has_all_terms, has_any_term, lost_one
from app.core.db.dialects.mysql.collation import collated

__all__ = ["TAKE_PLACES", "has_all_terms", "has_any_term", "lost_one", "select_macs"]

_SELECT_MACS = sa.text(collated(mariadb.SELECT_MACS.text))


def select_macs(places: Sequence[tuple[str, int, int]]) -> tuple[sa.TextClause, Mapping[str, Any]]:
    """A query of (resource type, id, version, MAC) of the records at these places, and its parameters."""
    _, parameters = mariadb.select_macs(places)
    return _SELECT_MACS, parameters
