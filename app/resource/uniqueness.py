"""Look up which values of uniqueness rules are taken, for many objects in one statement."""

import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.db.models import Base, Entity
from app.core.db.rules import SoftUnique, UniqueRule, is_folded, soft_rule, unique_rules
from app.core.db.statements import any_of, fetch_rows
from app.core.values import fold_value
from app.resource.declaration import Resource

Key = tuple[Any, ...]


class MemberRule(NamedTuple):
    """What no two members of the lists of all objects may share, such as a port of a server.

    Triggers keep a row of `table` for each member; `owner` refers to the object. Of the columns that are unique
    together, `own` are the object's, and `members` what each member of its `field` has.
    """

    field: str
    table: sa.Table
    owner: sa.Column[Any]
    own: tuple[str, ...]
    members: tuple[str, ...]

    def keys(self, values: Mapping[str, Any]) -> Iterator[Key]:
        """The keys that an object of these values takes; none without an owner."""
        above = tuple(values[name] for name in self.own)
        if None not in above:
            yield from ((*above, *(member[name] for name in self.members)) for member in values[self.field] or ())

    def taken(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Those of the keys that are stored, with the id of their object."""
        sought = set(keys)
        if not sought:
            return {}
        columns = [self.table.c[name] for name in (*self.own, *self.members)]
        # Narrowed by whose they are; the combinations are compared here.
        statement = sa.select(self.owner, *columns).where(any_of(columns[0], {key[0] for key in sought}))
        rows = ((tuple(key), identity) for identity, *key in fetch_rows(statement))
        return {key: identity for key, identity in rows if key in sought}


@functools.cache
def member_rules(model: type[Entity]) -> tuple[MemberRule, ...]:
    """The rules about members of a model's lists: keys that name the list, of tables that belong to the model's."""
    own = model.__table__.columns
    rules = []
    for table in Base.metadata.sorted_tables:
        field = table.primary_key.info.get("fields", ("",))[0]
        owners = [key.parent for key in table.foreign_keys if key.column.table is model.__table__]
        if field in own and owners:
            names = [column.name for column in table.primary_key]
            above = tuple(name for name in names if name in own)
            members = tuple(name for name in names if name not in own)
            rules.append(MemberRule(field, table, owners[0], above, members))
    return tuple(rules)


@functools.cache
def index_rules(model: type[Entity]) -> tuple[UniqueRule, ...]:
    """The rules of a model's unique indexes."""
    return tuple(unique_rules(model.__table__))


def taken_keys(resource: Resource, keys: Iterable[Key], fields: Sequence[str], folded: Sequence[str]) -> dict[Key, int]:
    """Those of the keys of a uniqueness rule that are stored, with the id of their object."""
    return {key: holders[0] for key, holders in holders_of(resource, keys, fields, folded).items()}


def holders_of(
    resource: Resource, keys: Iterable[Key], fields: Sequence[str], folded: Sequence[str]
) -> dict[Key, list[int]]:
    """Those of the keys that are stored, with the ids of the objects that have them."""
    table = resource.model.__table__
    keys = set(keys)
    if not keys:
        return {}
    # Narrowed by the most telling field; the combinations are compared here.
    narrow = max(range(len(fields)), key=lambda at: len({key[at] for key in keys if key[at] is not None}))
    values = {key[narrow] for key in keys if isinstance(key[narrow], str | int)}
    if not values:
        return {}
    column = table.c[fields[narrow]]
    condition = any_of(sa.func.fold(column) if fields[narrow] in folded else column, values)
    statement = sa.select(table.c.id, *(table.c[name] for name in fields)).where(condition)
    holders: dict[Key, list[int]] = defaultdict(list)
    for identity, *parts in fetch_rows(statement):
        key = key_of(parts, fields, folded)
        if key in keys:
            holders[key].append(identity)
    return holders


def shared_key(rule: SoftUnique, model: type[Entity], values: Mapping[str, Any]) -> Key | None:
    """The key that a soft rule compares, or None where an object of these values shares nothing."""
    key = []
    for name, is_needed, folded in _parts_of_key(rule, model):
        value = values[name]
        if value is None and is_needed:
            return None
        key.append(fold_value(value) if folded else value)
    return tuple(key)


@functools.cache
def _parts_of_key(rule: SoftUnique, model: type[Entity]) -> Sequence[tuple[str, bool, bool]]:
    """Each field of a soft rule: whether an object without it shares nothing, and whether its texts are folded."""
    columns = model.__table__.c
    return [(name, not columns[name].foreign_keys, is_folded(columns[name])) for name in rule.fields]


def shared_with(
    resource: Resource, rule: SoftUnique, keys: Iterable[Key], but: Collection[int | None]
) -> dict[Key, int]:
    """A stored object for each key that is in use, apart from the objects of some ids."""
    fields, folded = soft_rule(resource.model.__table__, rule)
    others = {
        key: [holder for holder in holders if holder not in but]
        for key, holders in holders_of(resource, keys, fields, folded).items()
    }
    return {key: ids[0] for key, ids in others.items() if ids}


def key_of(values: Sequence[Any], fields: Sequence[str], folded: Sequence[str]) -> Key | None:
    """The key that a uniqueness rule compares, or None where the rule does not apply to these values."""
    if not folded:
        return None if None in values else tuple(values)
    key = []
    for name, value in zip(fields, values, strict=True):
        if value is None and name in folded:
            return None
        key.append(fold_value(value) if name in folded else value)
    return tuple(key)
