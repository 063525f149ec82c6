"""The indexes that follow from a resource's declaration: of the columns that are looked up by value."""

from collections.abc import Iterable, Sequence
from typing import Any

from app.core.db.models import Entity
from app.core.db.rules import add_lookup_index, is_text


def add_indexes(model: Any, natural_key: Iterable[Sequence[str]]) -> None:
    """Give a model's table the indexes that a resource of it needs, as far as it has them not yet."""
    if not issubclass(model, Entity):
        return
    table = model.__table__
    for fields in natural_key:
        if is_text(table.c[fields[-1]]):
            add_lookup_index(table, fields[-1])
