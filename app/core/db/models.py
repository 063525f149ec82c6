"""The declarative base of every model, its column types, and the base of rows that clients see."""

import enum
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

import app.core.db.functions  # noqa: F401 - types what sa.func.fold and the others return
from app.core.db.dialects.registry import dialect_named
from app.core.db.rules import Check, SoftUnique, add_lookup_index, add_sort_index, add_unique_index, is_text
from app.core.values import Choice, json_text, same_json, utcnow, whole

CENT = Decimal("0.01")


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time in microseconds, also on SQLite, which stores no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        # A database without zones leaves this one out.
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        if dialect_named(dialect.name).statements.TIMES_HAVE_ZONES:
            return None
        read: Any = self.impl_instance.dialect_impl(dialect).result_processor(dialect, coltype)
        if read is None:
            # The driver reads times by itself.
            return lambda value: None if value is None else value.replace(tzinfo=UTC)
        return lambda value: None if value is None else read(value).replace(tzinfo=UTC)


class Quantity(sa.types.TypeDecorator[float]):
    """A measured amount with up to three decimals (cores, gigabytes); whole amounts read as integers."""

    impl = sa.Numeric(15, 3, asdecimal=False)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        return None if value is None else whole(round(value, 3))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], float | None]:
        return lambda value: None if value is None else whole(float(value))

    def read_column(self, values: Sequence[Any]) -> list[float | None]:
        """What the result processor makes of each value, without a function call for each; see `Prepared`."""
        numbers = [None if value is None else float(value) for value in values]
        # As `whole` has it.
        return [number if number is None or number != int(number) else int(number) for number in numbers]


class Money(sa.types.TypeDecorator[Decimal]):
    """An amount to the cent, never a float."""

    impl = sa.Numeric(15, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        kind: sa.types.TypeEngine[Any] = sa.Numeric(15, 2, asdecimal=False) if _in_cents(dialect) else sa.Numeric(15, 2)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> Decimal | int | None:
        if value is None:
            return None
        cents = value.quantize(CENT)
        return int(cents * 100) if _in_cents(dialect) else cents

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        return (Decimal(value) / 100 if _in_cents(dialect) else Decimal(value)).quantize(CENT)


def _in_cents(dialect: sa.Dialect) -> bool:
    return dialect_named(dialect.name).statements.MONEY_IN_CENTS


class JsonText(sa.types.TypeDecorator[Any]):
    """JSON kept as the exact text that was written, so that its bytes can be hashed and verified."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json_text(value)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[str | None], Any]:
        return lambda value: None if value is None else orjson.loads(value)


class JsonAsSent(sa.types.TypeDecorator[Any]):
    """JSON text that is only read to be part of an answer: it is not parsed and written again."""

    impl = sa.Text
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[str | None], Any]:
        # One function for a value: SQLAlchemy's around `process_result_value` is 40 of 1,090 calls of an audit page.
        return lambda value: None if value is None else orjson.Fragment(value)

    def read_column(self, values: Sequence[Any]) -> list[orjson.Fragment | None]:
        """What the result processor makes of each value, without a function call for each; see `Prepared`."""
        return [None if value is None else orjson.Fragment(value) for value in values]


class _Json(sa.JSON):
    """JSON whose changes the session sees as JSON has them: true replaces 1, which Python finds equal."""

    def compare_values(self, x: Any, y: Any) -> bool:
        return same_json(x, y)


Json = _Json(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# SQLite numbers rows only where the key is exactly INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


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
        return _plural_of(cls.__name__)


# SQLAlchemy calls __tablename__ each time that it is read.
@functools.cache
def _plural_of(class_name: str) -> str:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()
    if name.endswith("ss"):
        return f"{name}es"
    return re.sub(r"(?<![aeiou])y$", "ie", name) + "s"


class Entity(Base):
    """A row that clients see: numbered, versioned, dated and owned."""

    __abstract__ = True

    label: ClassVar[str] = "name"
    """The column by which a person recognises the object; what a reference to it shows as `name`."""
    public: ClassVar[bool] = True
    """Whether every user may know which objects exist."""
    orm_only: ClassVar[bool] = False
    """Whether its rules run in the session's flush, so that the set-based writer refuses the model."""
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Each of these combinations of fields once. Texts are compared as `fold` has them."""
    checks: ClassVar[tuple[Check, ...]] = ()
    rarely_shared: ClassVar[tuple[SoftUnique, ...]] = ()
    sorted_by: ClassVar[tuple[str, ...]] = ()
    """The columns by which lists are ordered that may have many objects: each has an index in this order."""
    counted_by: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Columns with few values, in groups: how many objects have each combination of values of a group is kept. A time
    stands for its day."""

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
            add_unique_index(cls.__table__, fields)
        looked_up = {cls.label, *(fields[-1] for fields in cls.unique_together)}
        for column in cls.__table__.columns:
            if column.info.get("index") or (column.key in looked_up and is_text(column)):
                add_lookup_index(cls.__table__, column.key)
        for name in cls.sorted_by:
            add_sort_index(cls.__table__, name)
        for check in cls.checks:
            info = {"fields": check.fields, "message": check.message}
            cls.__table__.append_constraint(sa.CheckConstraint(check.sql, name=check.name, info=info))

    def __str__(self) -> str:
        return str(getattr(self, self.label))

    @classmethod
    def is_protected_from(cls, actor_id: int, object_id: int) -> bool:
        """Whether this user may not delete the object even if they may change it; models override and enforce it."""
        return False

    @classmethod
    def implied(cls, stored: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Further values that follow from new values, on every path of a write; models override it."""
        return {}

    @classmethod
    def validate(cls, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """The errors of an object of these values as a whole, by field."""
        return {name: messages for check in cls.checks for name, messages in check.errors(values).items()}
