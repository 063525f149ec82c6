"""Substring search over an object's search fields and attributes, with a trigram index on PostgreSQL."""

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.indexes import has_search_text, search_text
from app.resource.query.filters import escape_like

_WRITTEN_OTHERWISE = r'["\\\x00-\x1f\x7f]'


def matches(resource: Resource) -> sa.ColumnElement[bool]:
    """Whether a search column or an attribute contains the text whose `search_values` are the parameters."""
    pattern = sa.bindparam("q", type_=sa.Text)
    found: list[sa.ColumnElement[bool]] = [
        sa.func.fold(column).like(pattern, escape="\\") for column in resource.search
    ]
    if "attributes" in resource.fields:
        entries = sa.func.json_entries(resource.fields["attributes"].column).table_valued("key", "value")
        found.append(sa.exists().where(sa.func.fold(entries.c.value).like(pattern, escape="\\")))
    # A literal, not a parameter: the generic plan of a prepared statement would serve rare and frequent texts alike,
    # and takes 3 s where the plan for the text takes 2 ms.
    loosely = sa.bindparam("q_loose", type_=sa.Text, literal_execute=True)
    return sa.and_(_may_contain(resource, loosely), sa.or_(*found))


def search_values(text: str) -> dict[str, str]:
    """The parameters of `matches` that look for a text."""
    return {"q": f"%{escape_like(fold(text))}%", "q_loose": _loose_pattern(text)}


def may_match(resource: Resource, text: str) -> sa.ColumnElement[bool]:
    """Whether the index admits that an object contains a text: false is certain, true is not."""
    return _may_contain(resource, sa.literal(_loose_pattern(text), sa.Text(), literal_execute=True))


def _loose_pattern(text: str) -> str:
    # The index holds the attributes as JSON, which writes these characters otherwise.
    return f"%{'%'.join(escape_like(part) for part in re.split(_WRITTEN_OTHERWISE, fold(text)))}%"


def _may_contain(resource: Resource, pattern: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    if not has_search_text(resource.model):
        return sa.true()
    names = [column.key for column in resource.search]
    text = search_text(names, prefix=f"{resource.model.__tablename__}.")
    return may_contain(sa.literal_column(text, sa.Text()), pattern)


class may_contain(sa.sql.functions.GenericFunction[bool]):  # noqa: N801 - the name of an SQL function
    """What the index can tell of a text and a pattern; everything may, where there is no such index."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(may_contain)
def _everything(_element: Any, _compiler: Any, **_: Any) -> str:
    return "1 = 1"


@compiles(may_contain, "postgresql")
def _what_is_alike(element: Any, compiler: Any, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text}) LIKE {pattern}"
