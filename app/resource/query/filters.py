"""Filters: a query parameter such as `memory_gb__gte=64` becomes a typed value and its SQL condition.

Conditions are built with named parameters instead of values, so that the statement of a query's shape can be kept
and run again with other values.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from app.core.db.rules import is_ip_address, is_mac_address
from app.core.errors import BadRequest
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.json_fields import ATTRIBUTE_KEY
from app.resource.query.address_values import is_address, read_ip_addresses, read_mac_address, read_part
from app.resource.query.parameter_values import Period, read_text

Clause = sa.ColumnElement[bool]

EQUALITY = frozenset({"", "ne", "in", "isnull"})
ORDER = frozenset({"gt", "gte", "lt", "lte"})
TEXT = frozenset({"contains", "startswith"})

OPERATORS: Mapping[Kind, frozenset[str]] = {
    Kind.TEXT: EQUALITY | ORDER | TEXT,
    Kind.INTEGER: EQUALITY | ORDER,
    Kind.NUMBER: EQUALITY | ORDER,
    Kind.MONEY: EQUALITY | ORDER,
    Kind.BOOLEAN: EQUALITY,
    Kind.DATE: EQUALITY | ORDER,
    Kind.TIME: EQUALITY | ORDER,
    Kind.CHOICE: EQUALITY,
    Kind.REFERENCE: EQUALITY,
    Kind.LIST: frozenset({"", "isnull"}),
    Kind.OBJECTS: frozenset({"isnull"}),
    Kind.DOCUMENT: frozenset({"isnull"}),
    Kind.ATTRIBUTES: frozenset(),
}

MAX_VALUES = 200
"""Values that one parameter may list."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition's shape: which field, which operator, one value or several. It holds no value itself."""

    name: str
    operator: str
    several: bool
    ranges: int = 0
    """How many ranges a value is compared with: the periods of a time, the networks of an address. Each has two
    parameters, its start and its end."""

    @property
    def is_equality(self) -> bool:
        """Whether it compares with one value for equality."""
        return not self.operator and not self.several and not self.ranges


def filter_names(resource: Resource) -> dict[str, Field]:
    """What can be filtered on, by parameter name: every field, and every reference by its object's name."""
    names = {field.name: field for field in resource.fields.values() if OPERATORS[field.kind]}
    return {**names, **resource.references}


def parse_filter(resource: Resource, parameter: str, texts: list[str]) -> tuple[Filter, Any]:
    """Read one parameter, with all its repetitions, into its shape and its value or values.

    Raises BadRequest with the nearest valid names.
    """
    name, separator, operator = parameter.partition("__")
    field, kind = _subject(resource, parameter, name)
    if (separator and not operator) or operator not in operators_of(field, name, kind):
        valid = sorted(f"{name}__{op}" if op else name for op in operators_of(field, name, kind))
        raise unknown("operator", parameter, valid)
    if operator == "isnull":
        return Filter(name, operator, several=False), read_text(parameter, texts[-1], Kind.BOOLEAN, field)
    if operator == "in":
        texts, operator = [part for text in texts for part in text.split(",")], ""
    elif operator not in ("", "ne") and len(texts) > 1:
        raise BadRequest(f"{parameter} may be given only once.", reason="repeated_parameter")
    if len(texts) > MAX_VALUES:
        raise BadRequest(f"{parameter} may list at most {MAX_VALUES} values.", reason="too_many_values")
    if field is not None and is_address(field, name):
        return _address_filter(parameter, operator, texts, field)
    values = [read_text(parameter, text, kind, field) for text in texts]
    if kind is Kind.TIME:
        return _time_filter(name, operator, values)
    if len(values) > 1:
        return Filter(name, operator, several=True), values
    return Filter(name, operator, several=False), values[0]


def _time_filter(name: str, operator: str, periods: list[Period]) -> tuple[Filter, Any]:
    """A filter of times: each text stands for a period, so that a date is the whole day under every operator."""
    match operator:
        case "gt":
            return Filter(name, "gte", several=False), periods[0].end
        case "gte":
            return Filter(name, "gte", several=False), periods[0].start
        case "lt":
            return Filter(name, "lt", several=False), periods[0].start
        case "lte":
            return Filter(name, "lt", several=False), periods[0].end
    return Filter(name, operator, several=len(periods) > 1, ranges=len(periods)), periods


def _address_filter(parameter: str, operator: str, texts: list[str], field: Field) -> tuple[Filter, Any]:
    """A filter of addresses in any spelling; a network stands for all addresses in it."""
    several = len(texts) > 1
    if operator in TEXT:
        return Filter(field.name, operator, several=False), read_part(parameter, texts[0], field)
    if is_mac_address(field.column):
        macs = [read_mac_address(parameter, text, field) for text in texts]
        return Filter(field.name, operator, several), macs if several else macs[0]
    ranges = [read_ip_addresses(parameter, text, field, single=operator in ORDER) for text in texts]
    if not all(one.is_single for one in ranges):
        return Filter(field.name, operator, several, ranges=len(ranges)), ranges
    keys = [one.start for one in ranges]
    return Filter(field.name, operator, several), keys if several else keys[0]


def operators_of(field: Field | None, name: str, kind: Kind) -> frozenset[str]:
    """The operators of a parameter; a reference's name is text, but has no order of its own."""
    if field is not None and field.target is not None and name == field.reads_as:
        return EQUALITY | TEXT
    if field is None:
        return EQUALITY | TEXT
    return OPERATORS[kind]


def _subject(resource: Resource, parameter: str, name: str) -> tuple[Field | None, Kind]:
    """The field that a parameter is about and the kind of its values; an attribute has no field."""
    prefix, _, key = name.partition(".")
    if prefix == "attributes" and "attributes" in resource.fields:
        if not ATTRIBUTE_KEY.fullmatch(key):
            raise BadRequest(f"{parameter} names no valid attribute.", reason="unknown_parameter")
        return None, Kind.TEXT
    names = filter_names(resource)
    if name not in names:
        raise unknown("parameter", parameter, [*names, *LIST_PARAMETERS])
    field = names[name]
    return field, Kind.TEXT if field.target is not None and name == field.reads_as else field.kind


LIST_PARAMETERS = ("page", "page_size", "cursor", "sort", "q", "fields", "total")


def unknown(what: str, given: str, valid: Iterable[str]) -> BadRequest:
    """The refusal of a name that does not exist, with the nearest that do."""
    nearest = difflib.get_close_matches(given, list(valid), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
    return BadRequest(
        f"There is no {what} {given[:100]}.{hint}",
        reason=f"unknown_{what.replace(' ', '_')}",
        did_you_mean=nearest,
    )


def clause_of(resource: Resource, item: Filter, parameter: str) -> Clause:
    """The condition of a filter whose value arrives in the statement's parameter of that name."""
    field = filter_names(resource).get(item.name)
    if field is None:
        key = item.name.partition(".")[2]
        attribute = sa.func.json_member(resource.fields["attributes"].column, sa.literal(key, sa.Text()))
        return _compare(sa.cast(attribute, sa.Text), Kind.TEXT, item, parameter)
    if field.target is not None and item.name == field.reads_as:
        return _refers(field, item, parameter)
    if field.kind is Kind.LIST and item.operator == "":
        return _has_member(field.column, item, parameter)
    return _compare(field.column, field.kind, item, parameter)


def _refers(field: Field, item: Filter, parameter: str) -> Clause:
    """A condition on the name of the object that is referred to."""
    assert field.target is not None
    if item.operator == "isnull":
        return _compare(field.column, field.kind, item, parameter)
    table = field.target.__table__
    named = Filter(item.name, "" if item.operator == "ne" else item.operator, item.several)
    found = sa.select(table.c.id).where(_compare(table.c[field.target.label], Kind.TEXT, named, parameter))
    if item.operator == "ne":
        return sa.or_(field.column.is_(None), field.column.not_in(found))
    return field.column.in_(found)


def _has_member(column: sa.ColumnElement[Any], item: Filter, parameter: str) -> Clause:
    """Whether any of the values is a member of the list, ignoring case."""
    members = sa.func.json_items(column).table_valued("value")
    return sa.exists().where(_compare(members.c.value, Kind.TEXT, item, parameter))


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


def _ordered(subject: Any, column: sa.ColumnElement[Any], item: Filter, wanted: Any) -> Any:
    """The comparison of a column, or of its lower case, with one value or several."""
    match item.operator:
        case "":
            return subject.in_(wanted) if item.several else subject == wanted
        case "ne":
            # What has no value is different from every value.
            differs = subject.not_in(wanted) if item.several else subject != wanted
            return sa.or_(column.is_(None), differs)
        case "gt":
            return subject > wanted
        case "gte":
            return subject >= wanted
        case "lt":
            return subject < wanted
        case _:
            return subject <= wanted


def _values(kind: Kind, item: Filter, parameter: str, column: sa.ColumnElement[Any]) -> Any:
    type_: sa.types.TypeEngine[Any] = column.type
    if kind is Kind.TEXT:
        type_ = sa.Text()
    elif kind is Kind.INTEGER:
        # What is asked for may be more than the column holds, and PostgreSQL would refuse to convert it.
        type_ = sa.BigInteger()
    if item.several:
        return sa.bindparam(parameter, type_=type_, expanding=True)
    return sa.bindparam(parameter, type_=type_)


def bound_values(item: Filter, value: Any, parameter: str) -> dict[str, Any]:
    """The values of a filter by the parameters of its condition, whose own is `parameter`."""
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
