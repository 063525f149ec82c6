"""Compares the counters with the objects."""

from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.core.db.counters.maintenance import wrong_numbers
from app.core.db.counters.models import counted_models, counted_of
from app.core.db.counters.reading import numbers_by
from app.core.db.models import Entity
from app.core.db.unit_of_work import db, reading
from app.core.values import as_json


def assert_counters_match_objects(app: Flask) -> None:
    """Assert that each number that is read is that of the objects, and that verification agrees."""
    with app.app_context(), reading():
        for model in counted_models():
            assert wrong_numbers(model) == []
            for counter in counted_of(model).counters:
                names = [column.name for column in counter.columns]
                assert _numbers(model, names) == _counted(model, names), (model, names)


def _numbers(model: type[Entity], names: list[str]) -> dict[Any, int]:
    rows = db.session.execute(sa.select(numbers_by(model, *names))).all()
    numbers = {tuple(map(as_json, values)): number for *values, number in rows}
    assert len(numbers) == len(rows)
    return numbers


def _counted(model: type[Entity], names: list[str]) -> dict[Any, int]:
    numbers: dict[Any, int] = {}
    for values in db.session.execute(sa.select(*(model.__table__.c[name] for name in names))):
        key = tuple(
            as_json(value)[:10] if name == "created_at" else as_json(value)
            for name, value in zip(names, values, strict=True)
        )
        numbers[key] = numbers.get(key, 0) + 1
    return numbers
