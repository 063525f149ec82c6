"""Numbers of objects by the values of columns: from a counter where there is one, else counted."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.counters.declaration import Counter
from app.core.db.counters.models import ObjectCount, counted_of
from app.core.db.dialects.registry import current_dialect
from app.core.db.models import Entity, UtcDateTime

NUMBER = "number"
_counts = ObjectCount.__table__


def numbers_by(model: type[Entity], *names: str) -> sa.Subquery:
    """A row for each combination of values of these columns that objects have: the values and their `number`.

    Of a time the value is its day in UTC.
    """
    counter = kept_counter(model, names)
    if counter is None:
        columns = [_counted_value(model.__table__.c[name]).label(name) for name in names]
        numbers = sa.select(*columns, sa.func.count().label(NUMBER))
        return numbers.select_from(model.__table__).group_by(*columns).subquery()
    parts = parts_of(model, counter)
    # PostgreSQL's sum() of bigint is numeric, which would arrive as Decimal.
    number = sa.cast(sa.func.sum(parts.c[NUMBER]), sa.BigInteger)
    values = [parts.c[name] for name in names]
    return sa.select(*values, number.label(NUMBER)).group_by(*values).having(number != 0).subquery()


def kept_counter(model: type[Entity], names: Sequence[str]) -> Counter | None:
    """The counter with the fewest columns that covers these ones, if there is one on this database."""
    if not current_dialect().counters.ARE_KEPT:
        return None
    covering = [counter for counter in counted_of(model).counters if counter.covers(names)]
    return min(covering, key=lambda counter: len(counter.columns), default=None)


def parts_of(model: type[Entity], counter: Counter) -> sa.Subquery:
    """The rows of a counter, its values as columns; several rows may have the same values."""
    values = (
        _kept_value(model.__table__.c[column.name], place).label(column.name)
        for place, column in enumerate(counter.columns)
    )
    rows = sa.select(*values, _counts.c.number.label(NUMBER))
    # In the text, not a parameter: to SQLAlchemy two enumerations are one type, and the statements would be one.
    is_of_model = _counts.c.resource_type == sa.literal_column(f"'{model.__tablename__}'", sa.String())
    return rows.where(is_of_model, _counts.c.counter == counter.name).subquery()


def _counted_value(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.func.utc_day(column) if isinstance(column.type, UtcDateTime) else column


def _kept_value(column: sa.Column[Any], place: int) -> sa.ColumnElement[Any]:
    """The value of a column in the key of a counter, in the type of the column."""
    text = _counts.c.key[place].as_string()
    if isinstance(column.type, UtcDateTime):
        return sa.type_coerce(text, sa.String())
    if isinstance(column.type, sa.String):
        return sa.type_coerce(text, column.type)
    return sa.cast(text, column.type)
