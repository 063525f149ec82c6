"""Conditions on what is inside of a JSON column: the members of a list, the attributes by their name.

An attribute holds text, a number or a boolean, and text may be written like a number. So a value that is a number
is compared with numbers, however they are stored, and for equality with the text too; any other value with texts.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Any, cast

import sqlalchemy as sa

from app.core.values import fold

Clause = sa.ColumnElement[bool]

_NUMBER = re.compile(r"[+-]?[0-9]{1,16}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")

ATTRIBUTE = "attributes."
"""What the name of a parameter that is about an attribute begins with."""
LIST_OPERATORS = frozenset({"", "in", "all", "ne", "isnull"})
ORDERINGS: Mapping[str, Callable[[Any, Any], Any]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
EMPTY = ("[]", "{}")


def is_empty(column: sa.ColumnElement[Any], parameter: str) -> Clause:
    """Whether a list or an object has no members, or is absent, compared with a parameter that is true or false."""
    empty = sa.func.coalesce(sa.cast(column, sa.Text), "[]").in_(EMPTY)
    return sa.case((empty, sa.true()), else_=sa.false()) == sa.bindparam(parameter, type_=sa.Boolean)


def has_members(column: sa.ColumnElement[Any], operator: str, parameter: str) -> Clause:
    """Whether a list has one of the values, has `all` of them, or for `ne` none of them."""
    values = sa.bindparam(parameter, type_=sa.Text, expanding=True)
    members = sa.func.json_items(column).table_valued("value")
    member = sa.func.fold(members.c.value)
    if operator == "all":
        matching = sa.select(sa.func.count(member.distinct())).where(member.in_(values)).scalar_subquery()
        return matching == sa.bindparam(f"{parameter}_count", type_=sa.Integer)
    has_one = sa.exists().where(member.in_(values))
    return sa.not_(has_one) if operator == "ne" else has_one


def member_values(values: Any, parameter: str) -> dict[str, Any]:
    """The parameters of `has_members`."""
    folded = {fold(value) for value in (values if isinstance(values, list) else [values])}
    return {parameter: sorted(folded), f"{parameter}_count": len(folded)}


def attribute_text(attributes: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[Any]:
    """An attribute as text; null where it is absent."""
    return sa.cast(sa.func.json_member(attributes, sa.literal(key, sa.Text())), sa.Text)


def attribute_number(attributes: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[Any]:
    """An attribute as a number; null where it is none, and no text that is written like one."""
    return sa.func.json_number(attributes, sa.literal(key, sa.Text()))


def compare_attribute(
    attributes: sa.ColumnElement[Any], key: str, operator: str, parameter: str, *, several: bool, numeric: bool
) -> Clause:
    """The comparison of an attribute with a value or, for equality, with several; `numeric` if one is a number."""
    text, folded = attribute_text(attributes, key), sa.func.fold(attribute_text(attributes, key))
    number = attribute_number(attributes, key)
    value: Any = sa.bindparam(parameter, type_=sa.Text, expanding=several)
    number_value: Any = sa.bindparam(f"{parameter}_number", type_=sa.Float, expanding=several)
    if operator in ("", "ne"):
        equal: Clause = folded.in_(value) if several else folded == value
        if numeric:
            same = number.in_(number_value) if several else number == number_value
            equal = sa.or_(equal, sa.func.coalesce(same, sa.false()))
        # What has no value is different from every value.
        return sa.or_(text.is_(None), sa.not_(equal)) if operator == "ne" else equal
    if numeric:
        return cast(Clause, ORDERINGS[operator](number, number_value))
    return sa.and_(number.is_(None), ORDERINGS[operator](folded, value))


def is_number(text: str) -> bool:
    """Whether a value of a query is a number."""
    return _NUMBER.fullmatch(text) is not None


def attribute_numbers(value: str | Sequence[str], parameter: str) -> dict[str, Any]:
    """The numbers among the values of `compare_attribute`, by their parameter."""
    if isinstance(value, str):
        return {f"{parameter}_number": float(value)}
    return {f"{parameter}_number": [float(text) for text in value if is_number(text)]}
