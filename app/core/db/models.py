"""The declarative base of every model, and the base of rows that clients see."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from app.core.db.column_types import Id, Json, Money, Quantity, UtcDateTime
from app.core.values import Choice, utcnow


class Base(DeclarativeBase):
    """The root of every model; constraint names are part of the API, errors.py reads them back."""

    __table__: ClassVar[sa.Table]

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        date: sa.Date,
        float: Quantity,
        Decimal: Money,
        str: sa.String(255),
        Choice: sa.Enum(
            enum.Enum,
            native_enum=False,
            create_constraint=True,
            length=32,
            values_callable=lambda kind: [member.value for member in kind],
        ),
        dict[str, Any]: Json,
        list[str]: Json,
        list[dict[str, Any]]: Json,
    }


class Entity(Base):
    """A row that clients see: numbered, versioned, dated and owned."""

    __abstract__ = True

    label: ClassVar[str] = "name"
    """The column by which a person recognises the object; what a reference to it shows as `name`."""
    watched: ClassVar[bool] = False
    """Whether the session's listeners guard its rules, so that the set-based writer may not touch it."""

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    version: Mapped[int] = mapped_column(sort_order=-1)
    created_at: Mapped[datetime] = mapped_column(default=utcnow, sort_order=98)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, sort_order=99)

    @declared_attr
    @classmethod
    def created_by_id(cls) -> Mapped[int | None]:
        return mapped_column(Id, sa.ForeignKey("users.id"), index=True, sort_order=97)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return table_args()

    def __str__(self) -> str:
        return str(getattr(self, self.label))

    @classmethod
    def flaws(cls, _values: Mapping[str, Any]) -> dict[str, list[str]]:
        """What is wrong with an object of these values as a whole, by field; a constraint guards it too."""
        return {}


def table_args(*constraints: Any) -> tuple[Any, ...]:
    """The `__table_args__` of an entity: its constraints, and ids that SQLite never hands out twice.

    An id that came back would continue the audit trail of the object that had it before.
    """
    return (*constraints, {"sqlite_autoincrement": True})


def unique(table: str, *fields: str, folded: Sequence[str] = ()) -> sa.Index:
    """Each combination of `fields` once; `folded` text compares ignoring case.

    With `folded` text, an absent parent counts as a parent, so that names are unique there too; without it,
    absent values never collide.
    """
    expressions: list[Any] = [
        sa.text(f"lower({name})" if name in folded else f"coalesce({name}, 0)") if folded else name for name in fields
    ]
    return sa.Index(
        f"uq_{table}_{'_'.join(fields)}",
        *expressions,
        unique=True,
        info={"fields": fields, "folded": tuple(folded)},
    )


def unique_fields(table: sa.Table) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (fields, folded fields) of every uniqueness rule of a table."""
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique and "fields" in index.info:
            yield index.info["fields"], index.info["folded"]
