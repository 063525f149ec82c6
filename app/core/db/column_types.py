"""The column types of every model, and SQL functions that both databases understand."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles

from app.core.values import json_text, whole

CENT = Decimal("0.01")


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time in microseconds, also on SQLite, which stores no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        if dialect.name == "postgresql":
            # The driver reads it as it should be, because our connections are in UTC.
            return None
        read: Any = self.impl_instance.dialect_impl(dialect).result_processor(dialect, coltype)
        return lambda value: None if value is None else read(value).replace(tzinfo=UTC)


class Quantity(sa.types.TypeDecorator[float]):
    """A measured amount with up to three decimals (cores, gigabytes); whole amounts read as integers."""

    impl = sa.Numeric(15, 3, asdecimal=False)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        return None if value is None else whole(round(value, 3))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], float | None]:
        return lambda value: None if value is None else whole(float(value))


class Money(sa.types.TypeDecorator[Decimal]):
    """An amount to the cent, never a float; SQLite, which has no decimals, stores the cents."""

    impl = sa.Numeric(15, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Numeric(15, 2, asdecimal=False))
        return dialect.type_descriptor(sa.Numeric(15, 2))

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> Decimal | int | None:
        if value is None:
            return None
        cents = value.quantize(CENT)
        return int(cents * 100) if dialect.name == "sqlite" else cents

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        return (Decimal(value) / 100 if dialect.name == "sqlite" else Decimal(value)).quantize(CENT)


class JsonText(sa.types.TypeDecorator[Any]):
    """JSON kept as the exact text that was written, so that its bytes can be hashed and verified."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json_text(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else orjson.loads(value)


Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# SQLite numbers rows only where the key is exactly INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


class json_items(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The members of a JSON list as rows with a text column `value`."""

    inherit_cache = True


class json_entries(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The entries of a JSON object as rows with the text columns `key` and `value`."""

    inherit_cache = True


class fold(sa.sql.functions.GenericFunction[str]):  # noqa: N801 - the name of an SQL function
    """A text as it is compared, the same as `app.core.values.fold` makes it."""

    type = sa.Text()
    inherit_cache = True


class json_member(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The value of a JSON object's key as text."""

    type = sa.Text()
    inherit_cache = True


# SQLite has no booleans: it would show them as 1 and 0.
_SQLITE_TEXT = "CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE value END"


@compiles(json_items)
@compiles(json_entries)
def _json_each(element: Any, compiler: Any, **options: Any) -> str:
    argument = compiler.process(element.clause_expr, **options)
    if compiler.dialect.name == "postgresql":
        names = {"json_items": "jsonb_array_elements_text", "json_entries": "jsonb_each_text"}
        return f"{names[element.name]}{argument}"
    return f"(SELECT key, {_SQLITE_TEXT} AS value FROM json_each{argument})"  # noqa: S608 - compiled parts


@compiles(json_member)
def _json_member(element: Any, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    if compiler.dialect.name == "postgresql":
        return f"({document} ->> {key})"
    return f"(SELECT {_SQLITE_TEXT} FROM json_each({document}) WHERE key = {key})"  # noqa: S608
