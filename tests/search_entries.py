"""Compares the table of what can be found with the objects."""

from collections import Counter
from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.catalog import CATALOG
from app.core.db.search.entries import SearchEntry
from app.core.db.unit_of_work import db
from app.core.values import as_json, search_text
from app.resource import Private
from app.resource.query.searched_fields import searched_values

Entries = dict[tuple[str, int], tuple[int | None, Counter[str]]]
"""The owner and the lines of each entry, by the object's type and id."""


def read_entries(app: Flask) -> Entries:
    """The entries in the table; asserts that no object has two."""
    table = SearchEntry.__table__
    with app.app_context():
        rows = db.session.execute(sa.select(table)).all()
    entries: Entries = {
        (row.resource_type, row.resource_id): (row.owner_id, Counter(row.content.split("\n"))) for row in rows
    }
    assert len(entries) == len(rows)
    return entries


def expected_entries(app: Flask) -> Entries:
    """The entries that the objects should have."""
    with app.app_context():
        return {
            (name, row["id"]): (_owner(resource.model, row), _lines(resource, row))
            for name, resource in CATALOG.items()
            for row in db.session.execute(sa.select(resource.model.__table__)).mappings()
        }


def _owner(model: Any, row: Any) -> int | None:
    return (row["created_by_id"] or 0) if issubclass(model, Private) else None


def _lines(resource: Any, row: Any) -> Counter[str]:
    item = {name: as_json(value) for name, value in row.items()}
    texts = (search_text(searched.compared) for searched in searched_values(resource, item))
    return Counter(line for text in texts for line in text.split("\n"))


def assert_entries_match_objects(app: Flask) -> None:
    """Assert that every object has its entry, and nothing else has one."""
    assert read_entries(app) == expected_entries(app)
