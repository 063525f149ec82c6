"""Filters: a query parameter such as `memory_gb__gte=64` becomes the shape of a condition and its typed values."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core.db.rules import is_mac_address
from app.core.errors import ParameterError, RepeatedParameter, UnknownParameter, nearest_names
from app.core.messages import Message, Term, tr
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.json_fields import ATTRIBUTE_KEY
from app.resource.query.json_filters import ATTRIBUTE, LIST_OPERATORS, is_number
from app.resource.query.parameter_values import (
    TimeSpan,
    is_address,
    read_address_part,
    read_ip_addresses,
    read_mac_address,
    read_text,
)

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
    Kind.LIST: LIST_OPERATORS,
    Kind.OBJECTS: frozenset({"isnull"}),
    Kind.DOCUMENT: frozenset({"isnull"}),
    Kind.ATTRIBUTES: frozenset({"isnull"}),
}

MAX_VALUES = 200
"""Values that one parameter may list."""


class TooManyValues(ParameterError):
    reason, message = "too_many_values", tr("A query parameter lists too many values.")


class UnknownName(ParameterError):
    """`reason` says what has no such name."""

    rule = "unknown"
    reason, message = "unknown_name", tr("There is no such name.")
    other_reasons = (
        "unknown_action",
        "unknown_attribute",
        "unknown_expansion",
        "unknown_field",
        "unknown_operator",
        "unknown_parameter",
        "unknown_resource_type",
        "unknown_sort_column",
        "unknown_type",
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition's shape: which field, which operator, one value or several. It holds no value but a `choice`."""

    name: str
    operator: str
    several: bool
    ranges: int = 0
    """How many ranges a value is compared with: the periods of a time, the networks of an address. Each has two
    parameters, its start and its end."""
    members: bool = False
    """Whether it is about the members of a list."""
    numeric: bool = False
    """Whether an attribute is compared with numbers too."""
    or_empty: bool = False
    """Whether no value is among the values."""
    choice: str = ""
    """The value of an enumeration that is compared with. Of so few values each has a statement of its own, whose plan
    PostgreSQL keeps, instead of one that it plans anew for each request."""

    @property
    def is_equality(self) -> bool:
        """Whether it compares with one value for equality."""
        return not (self.operator or self.several or self.ranges or self.or_empty)

    @property
    def is_inequality(self) -> bool:
        """Whether it leaves out one value, which most rows do not have."""
        return self.operator == "ne" and not (self.several or self.ranges or self.members)


@functools.cache
def filter_names(resource: Resource) -> Mapping[str, Field]:
    """What can be filtered on, by parameter name: every field, and every reference by its object's name."""
    names = {field.name: field for field in resource.fields.values() if OPERATORS[field.kind]}
    return {**names, **resource.references}


def parse_filter(resource: Resource, parameter: str, texts: list[str]) -> tuple[Filter, Any]:
    """Read one parameter, with all its repetitions, into its shape and its value or values.

    Raises BadRequest with the nearest valid names.
    """
    name, separator, operator = _split(parameter)
    field, kind = _subject(resource, parameter, name)
    if (separator and not operator) or operator not in operators_of(field, name, kind):
        valid = sorted(f"{name}__{op}" if op else name for op in operators_of(field, name, kind))
        raise unknown("operator", parameter, valid)
    if operator == "isnull":
        return Filter(name, operator, several=False), read_text(parameter, texts[-1], Kind.BOOLEAN, field)
    is_listed = operator in ("in", "all")
    if is_listed:
        texts, operator = [part for text in texts for part in text.split(",")], operator.removeprefix("in")
    elif operator not in ("", "ne") and len(texts) > 1:
        raise RepeatedParameter(tr("{name} may be given only once.", name=parameter), parameter=parameter)
    if len(texts) > MAX_VALUES:
        raise TooManyValues(
            tr("{parameter} may list at most {max} values.", parameter=parameter, max=MAX_VALUES), parameter=parameter
        )
    filled = texts
    if not is_listed and operator in ("", "ne") and kind in (Kind.TEXT, Kind.LIST):
        # Empty text is no value. In a list it is ignored: a comma at the end must not widen a bulk write.
        filled = [text for text in texts if text.strip()]
        if not filled:
            return Filter(name, "isnull", several=False), operator == ""
    item, value = _typed_filter(parameter, Filter(name, operator, several=len(filled) > 1), filled, field, kind)
    return replace(item, or_empty=len(filled) < len(texts)), value


def _typed_filter(
    parameter: str, item: Filter, texts: list[str], field: Field | None, kind: Kind
) -> tuple[Filter, Any]:
    """The shape of a filter with the values that these texts stand for, and its value or values."""
    if field is not None and is_address(field, item.name):
        return _address_filter(parameter, item.operator, texts, field)
    values = [read_text(parameter, text, kind, field) for text in texts]
    if kind is Kind.TIME:
        return _time_filter(item.name, item.operator, values)
    if kind is Kind.CHOICE and item.is_equality:
        return replace(item, choice=values[0].value), values[0]
    numeric = field is None and item.operator not in TEXT and any(map(is_number, values))
    return replace(item, members=kind is Kind.LIST, numeric=numeric), values if item.several else values[0]


def _time_filter(name: str, operator: str, periods: list[TimeSpan]) -> tuple[Filter, Any]:
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
        return Filter(field.name, operator, several=False), read_address_part(parameter, texts[0], field)
    if is_mac_address(field.column):
        macs = [read_mac_address(parameter, text, field) for text in texts]
        return Filter(field.name, operator, several), macs if several else macs[0]
    ranges = [read_ip_addresses(parameter, text, field, single=operator in ORDER) for text in texts]
    if not all(one.is_single for one in ranges):
        return Filter(field.name, operator, several, ranges=len(ranges)), ranges
    keys = [one.start for one in ranges]
    return Filter(field.name, operator, several), keys if several else keys[0]


def _split(parameter: str) -> tuple[str, str, str]:
    """A parameter's name and operator; the name of an attribute may have `__` in it."""
    name, separator, operator = parameter.partition("__")
    if parameter.startswith(ATTRIBUTE) and operator not in EQUALITY | ORDER | TEXT:
        name, separator, operator = parameter.rpartition("__")
        if not name or operator not in EQUALITY | ORDER | TEXT:
            return parameter, "", ""
    return name, separator, operator


def operators_of(field: Field | None, name: str, kind: Kind) -> frozenset[str]:
    """The operators of a parameter; a reference's name is text, but has no order of its own."""
    if field is not None and field.target is not None and name == field.reads_as:
        return EQUALITY | TEXT
    return OPERATORS[kind]


def _subject(resource: Resource, parameter: str, name: str) -> tuple[Field | None, Kind]:
    """The field that a parameter is about and the kind of its values; an attribute has no field."""
    if name.startswith(ATTRIBUTE) and "attributes" in resource.fields:
        if not ATTRIBUTE_KEY.fullmatch(name.removeprefix(ATTRIBUTE)):
            raise UnknownParameter(
                tr("{parameter} names no valid attribute.", parameter=parameter), parameter=parameter
            )
        return None, Kind.TEXT
    names = filter_names(resource)
    if name not in names:
        raise unknown("parameter", parameter, [*names, *LIST_PARAMETERS])
    field = names[name]
    return field, Kind.TEXT if field.target is not None and name == field.reads_as else field.kind


LIST_PARAMETERS = ("page", "page_size", "cursor", "sort", "q", "fields", "total")


def unknown(
    what: str,
    name: str,
    valid: Iterable[str],
    *,
    parameter: str | None = None,
    prefix: str = "",
    reason: str | None = None,
) -> UnknownName:
    """The refusal of a name that does not exist, with the nearest that do, ignoring case; each after the prefix.

    `parameter` is the one that has the name as its value, if the name is not the parameter's own.
    """
    by_fold = {fold(name): name for name in valid}
    close = nearest_names(fold(name), by_fold)
    if not close and "." in name:
        # The beginning of a path is all that is known of it here.
        close = nearest_names(f"{fold(name).partition('.')[0]}.", by_fold)
    nearest = [prefix + by_fold[folded] for folded in close]
    return UnknownName(
        _there_is_no(what if isinstance(what, Term) else Term(what, _CHINESE[what]), name[:100], nearest),
        reason=reason or f"unknown_{what.replace(' ', '_')}",
        parameter=parameter or name,
        did_you_mean=nearest,
    )


_CHINESE = {
    "action": "操作",
    "attribute": "属性",
    "expansion": "附加内容",
    "field": "字段",
    "operator": "运算符",
    "parameter": "参数",
    "resource_type": "资源类型",
    "sort column": "排序列",
    "type": "类型",
}
"""Kinds of names that may not exist, in Chinese."""


def _there_is_no(what: str, name: str, nearest: list[str]) -> Message:
    if nearest:
        return tr("There is no {what} {given}. Did you mean {names}?", what=what, given=name, names=", ".join(nearest))
    return tr("There is no {what} {given}.", what=what, given=name)
