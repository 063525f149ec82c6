"""The SQL condition of a filter, and the values of its parameters.

Conditions are built with named parameters instead of values, so that the statement of a query's shape can be kept
and run again with other values.
"""

import re
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa

from app.core.db.models import JsonText
from app.core.db.rules import has_natural_index, is_ip_address, is_mac_address
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.query.filters import TEXT, Filter, filter_names
from app.resource.query.json_filters import (
    ATTRIBUTE,
    ORDERINGS,
    attribute_numbers,
    attribute_text,
    compare_attribute,
    has_members,
    is_empty,
    member_values,
)

Clause = sa.ColumnElement[bool]


def clause_of(resource: Resource, item: Filter, parameter: str) -> Clause:
    """The condition of a filter whose value arrives in the statement's parameter of that name."""
    clause = _clause_of(resource, item, parameter)
    if not item.or_empty:
        return clause
    empty = _clause_of(resource, Filter(item.name, "isnull", several=False), f"{parameter}_empty")
    return sa.and_(clause, sa.not_(empty)) if item.operator == "ne" else sa.or_(clause, empty)


def _clause_of(resource: Resource, item: Filter, parameter: str) -> Clause:
    field = filter_names(resource).get(item.name)
    if field is None:
        return _compare_attribute(resource.fields["attributes"].column, item, parameter)
    if field.target is not None and item.name == field.reads_as:
        return _refers(field, item, parameter)
    if isinstance(field.column.type, sa.JSON | JsonText) and item.operator == "isnull":
        return is_empty(field.column, parameter)
    if field.kind is Kind.LIST:
        return has_members(field.column, item.operator, parameter)
    return _compare(field.column, field.kind, item, parameter)


def _refers(field: Field, item: Filter, parameter: str) -> Clause:
    """A condition on the name of the object that is referred to."""
    assert field.target is not None
    if item.operator == "isnull":
        return _compare(field.column, field.kind, item, parameter)
    table = field.target.__table__
    named = Filter(item.name, "" if item.operator == "ne" else item.operator, item.several)
    target_ids = sa.select(table.c.id).where(_compare(table.c[field.target.label], Kind.TEXT, named, parameter))
    if item.operator == "ne":
        return sa.or_(field.column.is_(None), field.column.not_in(target_ids))
    return field.column.in_(target_ids)


def _compare_attribute(attributes: sa.ColumnElement[Any], item: Filter, parameter: str) -> Clause:
    key = item.name.removeprefix(ATTRIBUTE)
    if item.operator == "isnull" or item.operator in TEXT:
        return _compare(attribute_text(attributes, key), Kind.TEXT, item, parameter)
    return compare_attribute(attributes, key, item.operator, parameter, several=item.several, numeric=item.numeric)


def _compare(column: sa.ColumnElement[Any], kind: Kind, item: Filter, parameter: str) -> Clause:
    if item.operator == "isnull":
        # One shape for both answers: the parameter is compared with the fact.
        return column.is_(None) == sa.bindparam(parameter, type_=sa.Boolean)
    if item.operator in TEXT:
        return cast(Clause, _as_text(column).like(sa.bindparam(parameter, type_=sa.Text), escape="\\"))
    subject = comparable(column, kind)
    if item.ranges:
        return _within(subject, item, parameter)
    return cast(Clause, _ordered(subject, column, item, _values(kind, item, parameter, column)))


def comparable(column: sa.ColumnElement[Any], kind: Kind) -> sa.ColumnElement[Any]:
    """A column as its values are compared and ordered by filters: texts folded, IP addresses as numbers."""
    if is_ip_address(column):
        return sa.func.address_key(column)
    folds = kind is Kind.TEXT and not getattr(column, "info", {}).get("lower")
    return sa.func.fold(column) if folds else column


def _as_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A text as parts of it are looked for."""
    if is_mac_address(column):
        return sa.func.replace(column, ":", "")
    return column if getattr(column, "info", {}).get("lower") else sa.func.fold(column)


def _within(column: sa.ColumnElement[Any], item: Filter, parameter: str) -> Clause:
    """Whether a value is in one of the ranges; for `ne`, in none of them."""

    def bound(at: int, end: str) -> sa.BindParameter[Any]:
        return sa.bindparam(f"{parameter}_{at}_{end}", type_=column.type)

    if item.operator == "ne":
        outside = [sa.or_(column < bound(at, "start"), column >= bound(at, "end")) for at in range(item.ranges)]
        return sa.or_(column.is_(None), sa.and_(*outside))
    return sa.or_(*(sa.and_(column >= bound(at, "start"), column < bound(at, "end")) for at in range(item.ranges)))


def _ordered(subject: Any, column: sa.ColumnElement[Any], item: Filter, operand: Any) -> Any:
    """The comparison of a column, or of its lower case, with one value or several."""
    match item.operator:
        case "":
            if item.several:
                return subject.in_(operand)
            if not has_natural_index(column):
                return subject == operand
            # Implied by the first condition, and the one that the index serves.
            return sa.and_(subject == operand, sa.func.natural_key(column) == sa.func.natural_key(operand))
        case "ne":
            # What has no value is different from every value.
            differs = subject.not_in(operand) if item.several else subject != operand
            return sa.or_(column.is_(None), differs)
        case _:
            return ORDERINGS[item.operator](subject, operand)


def _values(kind: Kind, item: Filter, parameter: str, column: sa.ColumnElement[Any]) -> Any:
    if item.choice:
        # Not the client's text: the value of a member of the enumeration, which we have written.
        return sa.literal_column(f"'{item.choice}'")
    type_: sa.types.TypeEngine[Any] = column.type
    if kind is Kind.TEXT:
        type_ = sa.Text()
    elif kind is Kind.INTEGER:
        # A filter's value may be greater than the column can hold, and PostgreSQL would refuse to convert it.
        type_ = sa.BigInteger()
    if item.several:
        return sa.bindparam(parameter, type_=type_, expanding=True)
    return sa.bindparam(parameter, type_=type_)


def bound_values(item: Filter, value: Any, parameter: str) -> dict[str, Any]:
    """The values of a filter by the parameters of its condition, whose own is `parameter`."""
    if item.or_empty:
        return {**bound_values(replace(item, or_empty=False), value, parameter), f"{parameter}_empty": True}
    if item.members:
        return member_values(value, parameter)
    if item.numeric:
        return {parameter: bound_value(item, value), **attribute_numbers(value, parameter)}
    if not item.ranges:
        return {parameter: bound_value(item, value)}
    return {f"{parameter}_{at}_{end}": getattr(one, end) for at, one in enumerate(value) for end in ("start", "end")}


def bound_value(item: Filter, value: Any) -> Any:
    """The value as its condition's parameter takes it: text in lower case, patterns with their wildcards."""
    if item.operator in TEXT:
        pattern = escape_like(fold(value)) + "%"
        return pattern if item.operator == "startswith" else "%" + pattern
    if isinstance(value, str):
        return fold(value)
    if isinstance(value, list):
        return [fold(entry) if isinstance(entry, str) else entry for entry in value]
    return value


def escape_like(text: str) -> str:
    r"""Make `%` and `_` plain characters of a LIKE pattern with `\` as its escape."""
    return re.sub(r"([\\%_])", r"\\\1", text)
