"""SQL functions that both databases understand, as `sa.func` offers them: each class names one and types it."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from app.core.values import PLAIN_NUMBER


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


# SQLite has no booleans: it would show them as 1 and 0.
_SQLITE_TEXT = "CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE value END"


@compiles(json_items)
@compiles(json_entries)
def _json_each(element: Any, compiler: Any, **options: Any) -> str:
    argument = compiler.process(element.clause_expr, **options)
    if compiler.dialect.name == "postgresql":
        names = {"json_items": "jsonb_array_elements_text", "json_entries": "jsonb_each_text"}
        return f"{names[element.name]}{argument}"
    # No subquery around it: in a join, SQLite lets only a function see the columns of the table before it.
    return f"json_each{argument}"


@compiles(json_member)
def _json_member(element: Any, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    if compiler.dialect.name == "postgresql":
        return f"({document} ->> {key})"
    return f"(SELECT {_SQLITE_TEXT} FROM json_each({document}) WHERE key = {key})"  # noqa: S608


@compiles(json_number)
def _json_number(element: Any, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    if compiler.dialect.name == "postgresql":
        text = f"{document} ->> {key}"
        is_number = f"jsonb_typeof({document} -> {key}) = 'number' OR {text} ~ '^{PLAIN_NUMBER}$'"
        return f"(CASE WHEN {is_number} THEN CAST({text} AS double precision) END)"
    number = "CASE type WHEN 'integer' THEN value WHEN 'real' THEN value WHEN 'text' THEN plain_number(value) END"
    return f"(SELECT {number} FROM json_each({document}) WHERE key = {key})"  # noqa: S608
