"""The environments that a new database starts with."""

import sqlalchemy as sa

from app.core.db.unit_of_work import db
from app.environments.models import Environment

FIRST_ENVIRONMENTS = {"production": "#d62728", "staging": "#ff7f0e", "development": "#2ca02c"}
"""Name and color."""


def add_first_environments() -> None:
    """Add FIRST_ENVIRONMENTS to a database that has no environment."""
    if not db.session.scalar(sa.select(sa.exists().select_from(Environment))):
        db.session.add_all(Environment(name=name, color=color) for name, color in FIRST_ENVIRONMENTS.items())
