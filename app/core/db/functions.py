"""SQL functions that all databases understand, as `sa.func` offers them: each class names one and types it.

How each database writes one is a function of the same name in the module `functions` of its dialect.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from app.core.db.dialects.registry import dialect_of


class json_items(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The members of a JSON list of texts as rows with a column `value`."""

    inherit_cache = True


class json_entries(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The entries of a JSON object as rows with a column `key`."""

    inherit_cache = True


class fold(sa.sql.functions.GenericFunction[str]):  # noqa: N801 - the name of an SQL function
    """A text as it is compared, the same as `app.core.values.fold` makes it."""

    type = sa.Text()
    inherit_cache = True


class natural_key(sa.sql.functions.GenericFunction[str]):  # noqa: N801 - the name of an SQL function
    """A name as it is ordered, the same as `app.core.values.natural_key` makes it."""

    type = sa.Text()
    inherit_cache = True


class address_key(sa.sql.functions.GenericFunction[str]):  # noqa: N801 - the name of an SQL function
    """An IP address as it is ordered, the same as `app.core.addresses.address_key` makes it."""

    type = sa.Text()
    inherit_cache = True


class json_member(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The value of a JSON object's key as text."""

    type = sa.Text()
    inherit_cache = True


class json_number(sa.sql.functions.GenericFunction[float]):  # noqa: N801 - the name of an SQL function
    """The value of a JSON object's key where it is a number, or text that is written like one (`PLAIN_NUMBER`)."""

    type = sa.Float()
    inherit_cache = True


class text_member(sa.sql.functions.GenericFunction[int]):  # noqa: N801 - the name of an SQL function
    """The integer at the key of a JSON object that is kept as text."""

    type = sa.BigInteger()
    inherit_cache = True


class contains_text(sa.sql.functions.GenericFunction[bool]):  # noqa: N801 - the name of an SQL function
    """Whether a searched text contains another one, which is given as a pattern of LIKE and as it is."""

    type = sa.Boolean()
    inherit_cache = True


class resembles(sa.sql.functions.GenericFunction[bool]):  # noqa: N801 - the name of an SQL function
    """Whether a searched text has a pattern of LIKE, which is given with and without escapes."""

    type = sa.Boolean()
    inherit_cache = True


class position_in(sa.sql.functions.GenericFunction[int]):  # noqa: N801 - the name of an SQL function
    """Where in a text another one begins, from 1; 0 where it does not."""

    type = sa.Integer()
    inherit_cache = True


class utc_day(sa.sql.functions.GenericFunction[dt.date]):  # noqa: N801 - the name of an SQL function
    """The day in UTC of a column's time; its text is the ISO date."""

    inherit_cache = True


class seconds_between(sa.sql.functions.GenericFunction[float]):  # noqa: N801 - the name of an SQL function
    """The seconds from one time to another."""

    type = sa.Double()
    inherit_cache = True


class whole_part(sa.sql.functions.GenericFunction[int]):  # noqa: N801 - the name of an SQL function
    """The largest integer that is not above a positive number."""

    type = sa.Integer()
    inherit_cache = True


@compiles(json_items)
@compiles(json_entries)
@compiles(json_member)
@compiles(json_number)
@compiles(text_member)
@compiles(contains_text)
@compiles(resembles)
@compiles(position_in)
@compiles(utc_day)
@compiles(seconds_between)
@compiles(whole_part)
def _write(element: Any, compiler: Any, **options: Any) -> str:
    write = getattr(dialect_of(compiler).functions, element.name)
    sql: str = write(*(_Argument(clause, compiler, options) for clause in element.clauses))
    return sql


class _Argument:
    """A clause that is compiled wherever it is written out: one that a database does not use leaves no parameter."""

    def __init__(self, clause: Any, compiler: Any, options: Mapping[str, Any]) -> None:
        self._clause, self._compiler, self._options = clause, compiler, options

    def __str__(self) -> str:
        sql: str = self._compiler.process(self._clause, **self._options)
        return sql
