"""What the tests of the proof share."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from app.proof.sealer import log_name
from tests.proof.administrator import as_administrator


@pytest.fixture
def origin_kept(app: Flask) -> Iterator[None]:
    """Give the log its name back after the test: the migration wrote it, so emptying the database does not."""
    with app.app_context():
        name = log_name()
    yield
    with as_administrator(app) as connection:
        connection.execute(sa.text("DELETE FROM audit_origin"))
        connection.execute(sa.text("INSERT INTO audit_origin VALUES (:name)"), {"name": name})
