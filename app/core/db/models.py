"""The declarative base of every model, the base of rows that clients see, and their rules."""

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

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

    @declared_attr.directive
    @classmethod
    def __tablename__(cls) -> str:
        """The plural of the class's name in snake_case: ServiceCheck has service_checks."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if name.endswith("ss"):
            return f"{name}es"
        return re.sub(r"(?<![aeiou])y$", "ie", name) + "s"


@dataclass(frozen=True, slots=True)
class Check:
    """A rule about an object as a whole, declared once for validation and for the database's CHECK constraint."""

    name: str
    fields: tuple[str, ...]
    message: str
    sql: str
    holds: Callable[[Mapping[str, Any]], bool]

    def errors(self, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """The message at each field that has a value, or at all of them where none has; empty if the rule holds."""
        if self.holds(values):
            return {}
        present = [name for name in self.fields if values[name] is not None]
        return {name: [self.message] for name in present or self.fields}


def exactly_one(*fields: str, name: str, message: str) -> Check:
    """Exactly one of these fields has a value."""
    return Check(name, fields, message, f"{_count_in_sql(fields)} = 1", lambda values: _count(fields, values) == 1)


def at_most_one(*fields: str, name: str, message: str) -> Check:
    """At most one of these fields has a value."""
    return Check(name, fields, message, f"{_count_in_sql(fields)} <= 1", lambda values: _count(fields, values) <= 1)


def present_when(field: str, *, status: Choice, name: str, message: str) -> Check:
    """A field has a value in this status, and in no other."""
    return Check(
        name,
        ("status",),
        message,
        f"(status = '{status.value}') = ({field} IS NOT NULL)",
        lambda values: (values["status"] is status) == (values[field] is not None),
    )


def _count(fields: tuple[str, ...], values: Mapping[str, Any]) -> int:
    return sum(values[name] is not None for name in fields)


def _count_in_sql(fields: tuple[str, ...]) -> str:
    return " + ".join(f"CASE WHEN {name} IS NULL THEN 0 ELSE 1 END" for name in fields)


class Entity(Base):
    """A row that clients see: numbered, versioned, dated and owned."""

    __abstract__ = True

    label: ClassVar[str] = "name"
    """The column by which a person recognises the object; what a reference to it shows as `name`."""
    orm_only: ClassVar[bool] = False
    """Whether its rules run in the session's flush, so that the set-based writer refuses the model."""
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Each of these combinations of fields once. Texts are compared as `fold` has them."""
    checks: ClassVar[tuple[Check, ...]] = ()

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

    # An id that SQLite handed out twice would continue the audit trail of the object that had it before.
    __table_args__: Any = {"sqlite_autoincrement": True}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for fields in cls.unique_together:
            _add_unique_index(cls.__table__, fields)
        looked_up = {cls.label, *(fields[-1] for fields in cls.unique_together)}
        for column in cls.__table__.columns:
            if column.info.get("index") or (column.key in looked_up and is_text(column)):
                add_lookup_index(cls.__table__, column.key)
        for check in cls.checks:
            info = {"fields": check.fields, "message": check.message}
            cls.__table__.append_constraint(sa.CheckConstraint(check.sql, name=check.name, info=info))

    def __str__(self) -> str:
        return str(getattr(self, self.label))

    @classmethod
    def validate(cls, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """What is wrong with an object of these values as a whole, by field."""
        return {name: messages for check in cls.checks for name, messages in check.errors(values).items()}


class UniqueRule(NamedTuple):
    """Fields that are unique together; `folded` are those of them that are compared as `fold` has them.

    With a folded field an absent parent counts as a parent: names are unique there too. Without one, objects that
    lack any of the values never collide. An object without a value in a folded field never does.
    """

    fields: tuple[str, ...]
    folded: tuple[str, ...]


def unique_rules(table: sa.Table) -> Iterable[UniqueRule]:
    """Every uniqueness rule of a table."""
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique and "folded" in index.info:
            yield UniqueRule(index.info["fields"], index.info["folded"])


def is_folded(column: sa.Column[Any]) -> bool:
    """Whether a column's values are compared as `fold` has them: texts are, unless they are canonical anyway."""
    return is_text(column) and not column.info.get("lower")


def is_text(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.String) and not isinstance(column.type, sa.Enum)


def add_lookup_index(table: sa.Table, name: str) -> None:
    """Index a field as it is compared, unless there is an index of it already: its own, or of its uniqueness."""
    column = table.c[name]
    if (name,) in (rule.fields for rule in unique_rules(table)):
        return
    index_name = f"ix_{table.name}_{name}" + ("_folded" if is_folded(column) else "")
    if all(index.name != index_name for index in table.indexes):
        sa.Index(index_name, sa.text(f"fold({name})") if is_folded(column) else column, _table=table)


def _add_unique_index(table: sa.Table, fields: tuple[str, ...]) -> None:
    folded = tuple(name for name in fields if is_folded(table.c[name]))
    expressions: list[Any] = [table.c[name] for name in fields]
    if folded:
        expressions = [sa.text(f"fold({name})" if name in folded else f"coalesce({name}, 0)") for name in fields]
    sa.Index(
        f"uq_{table.name}_{'_'.join(fields)}",
        *expressions,
        unique=True,
        info={"fields": fields, "folded": folded},
        _table=table,
    )
