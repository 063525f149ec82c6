"""The table of the counters.

A statement that changes a counted table appends how much it changes each number, one row for each combination of
values, so that no writer waits for another one because of a number. Readers sum up. A background action folds the rows
of a combination into one.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.counters.declaration import TABLE, Counted, CountedColumn, Counter
from app.core.db.models import Base, Entity, Id, Json, UtcDateTime


class ObjectCount(Base):
    """A part of the number of objects of a table that have these values in the columns of a counter.

    On a database without triggers of statements the table stays empty, and objects are counted when it is asked.
    """

    __tablename__ = TABLE

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    resource_type: Mapped[str] = mapped_column(sa.String(64))
    counter: Mapped[str] = mapped_column(sa.String(255))
    key: Mapped[list[Any]] = mapped_column(Json)
    number: Mapped[int] = mapped_column(sa.BigInteger)

    __table_args__ = (sa.Index("ix_object_counts_counter", "resource_type", "counter", "key"),)


def counted_of(model: type[Entity]) -> Counted:
    """The counters of a model, as it declares them in `counted_by`."""
    columns = model.__table__.columns
    counters = (
        Counter(tuple(CountedColumn(name, is_day=isinstance(columns[name].type, UtcDateTime)) for name in names))
        for names in model.counted_by
    )
    return Counted(model.__tablename__, tuple(counters))


def counted_models() -> list[type[Entity]]:
    """The models that have counters."""
    models = (mapper.class_ for mapper in Base.registry.mappers)
    counted = (model for model in models if issubclass(model, Entity) and model.counted_by)
    return sorted(counted, key=lambda model: model.__tablename__)
