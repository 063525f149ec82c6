"""Rules of models, declared once: for validation and a CHECK constraint, or for a unique index and its errors."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.addresses import ip_address, mac_address
from app.core.values import Choice

MAX_INCLUDED = 255
"""Length of the longest texts that stand beside their sort key in an index."""


@dataclass(frozen=True, slots=True)
class Check:
    """A rule about an object as a whole, declared once for validation and for the database's CHECK constraint."""

    name: str
    fields: tuple[str, ...]
    message: str
    sql: str
    holds: Callable[[Mapping[str, Any]], bool]
    kind: str | None = None
    """What a form can keep by itself: `exactly_one` or `at_most_one` of the fields has a value. None: another rule."""

    def errors(self, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """The message at each field that has a value, or at all of them where none has; empty if the rule holds."""
        if self.holds(values):
            return {}
        present = [name for name in self.fields if values[name] is not None]
        return {name: [self.message] for name in present or self.fields}


def exactly_one(*fields: str, name: str, message: str) -> Check:
    """Exactly one of these fields has a value."""
    count = _count_in_sql(fields)
    return Check(name, fields, message, f"{count} = 1", lambda values: _count(fields, values) == 1, "exactly_one")


def at_most_one(*fields: str, name: str, message: str) -> Check:
    """At most one of these fields has a value."""
    count = _count_in_sql(fields)
    return Check(name, fields, message, f"{count} <= 1", lambda values: _count(fields, values) <= 1, "at_most_one")


def present_when(field: str, *, status: Choice, name: str, message: str) -> Check:
    """A field has a value in this status, and in no other."""
    return Check(
        name,
        ("status",),
        message,
        f"(status = '{status.value}') = ({field} IS NOT NULL)",
        lambda values: (values["status"] is status) == (values[field] is not None),
    )


def absent_without(other: str, *fields: str, name: str, message: str) -> Check:
    """These fields have no value while another one has none."""
    empty = " AND ".join(f"{each} IS NULL" for each in fields)
    return Check(
        name,
        fields,
        message,
        f"{other} IS NOT NULL OR ({empty})",
        lambda values: values[other] is not None or _count(fields, values) == 0,
    )


def _count(fields: tuple[str, ...], values: Mapping[str, Any]) -> int:
    return sum(values[name] is not None for name in fields)


def _count_in_sql(fields: tuple[str, ...]) -> str:
    return " + ".join(f"CASE WHEN {name} IS NULL THEN 0 ELSE 1 END" for name in fields)


@dataclass(frozen=True, slots=True)
class SoftUnique:
    """Fields that two objects rarely have in common: imports warn, and a write refuses it where its query asks so.

    `name` is the query parameter, `description` its documentation, `noun` what the last field is called in messages.
    An object without a value in one of the fields shares nothing, except that an absent parent counts as one.
    """

    name: str
    fields: tuple[str, ...]
    noun: str
    description: str


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


@functools.cache
def soft_rule(table: sa.Table, rule: SoftUnique) -> UniqueRule:
    """The fields of a soft rule, and those of them that are compared as `fold` has them."""
    return UniqueRule(rule.fields, tuple(name for name in rule.fields if is_folded(table.c[name])))


def is_folded(column: sa.Column[Any]) -> bool:
    """Whether a column's values are compared as `fold` has them: texts are, unless they are canonical anyway."""
    return is_text(column) and not column.info.get("lower")


def is_ip_address(column: sa.ColumnElement[Any]) -> bool:
    """Whether a column holds IP addresses in their canonical form."""
    return getattr(column, "info", {}).get("check") is ip_address


def is_mac_address(column: sa.ColumnElement[Any]) -> bool:
    """Whether a column holds hardware addresses in their canonical form."""
    return getattr(column, "info", {}).get("check") is mac_address


def sort_key(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column as lists are ordered by it: names in their natural order, IP addresses as numbers."""
    if is_ip_address(column):
        return sa.func.address_key(column)
    if not is_folded(column) or is_mac_address(column):
        return column
    return sa.func.natural_key(column) if column.info.get("natural", True) else sa.func.fold(column)


def has_natural_index(column: sa.ColumnElement[Any]) -> bool:
    """Whether there is an index of a text in the natural order, and none of it as it is compared."""
    if not isinstance(column, sa.Column) or not is_folded(column):
        return False
    own = f"ix_{column.table.name}_{column.key}"
    same = {f"{own}_folded", f"uq_{column.table.name}_{column.key}"}
    names = {index.name for index in column.table.indexes}
    return f"{own}_sorted" in names and names.isdisjoint(same)


def is_text(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.String) and not isinstance(column.type, sa.Enum)


def add_lookup_index(table: sa.Table, name: str) -> None:
    """Index a field as it is compared, unless there is an index of it already: its own, or of its uniqueness."""
    column = table.c[name]
    if (name,) in (rule.fields for rule in unique_rules(table)):
        return
    suffix: str = ""
    expression: sa.Column[Any] | sa.TextClause = column
    if is_ip_address(column):
        suffix, expression = "_key", sa.text(f"address_key({name})")
    elif is_folded(column):
        suffix, expression = "_folded", sa.text(f"fold({name})")
    index_name = f"ix_{table.name}_{name}{suffix}"
    if all(index.name != index_name for index in table.indexes):
        sa.Index(index_name, expression, _table=table)


def add_sort_index(table: sa.Table, name: str) -> None:
    """Index a field in the order of a list by it, in place of its own index, which would hold the same.

    PostgreSQL counts off the rows before a page in the index alone only if that has the column too, not just its key:
    page 40,000 of 1,000,000 servers by serial number took 7.8 s instead of 0.25.
    """
    column = table.c[name]
    own = {f"ix_{table.name}_{name}", f"ix_{table.name}_{name}_key"}
    for index in [index for index in table.indexes if index.name in own]:
        table.indexes.discard(index)
    key = sort_key(column)
    function = getattr(key, "name", None) if key is not column else None
    expression = column if function is None else sa.text(f"{function}({name})")
    # A longer text and its key would not fit into an entry of an index, which PostgreSQL limits to 2,704 bytes.
    is_short = (getattr(column.type, "length", None) or math.inf) <= MAX_INCLUDED
    included = [name] if function is not None and is_short else []
    sa.Index(f"ix_{table.name}_{name}_sorted", expression, table.c.id, postgresql_include=included, _table=table)


def add_unique_index(table: sa.Table, fields: tuple[str, ...]) -> None:
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
