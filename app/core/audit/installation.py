"""The identity of this installation: the same after a restored backup, another one in every other database."""

import sqlalchemy as sa

from app.core.db.unit_of_work import db

_NAME = sa.text("SELECT min(name) FROM audit_origin")


def installation() -> str:
    """A short text that no other installation has: what the name of its audit log ends with."""
    name: str | None = db.session.scalar(_NAME)
    return (name or "unnamed").rpartition("/")[2]
