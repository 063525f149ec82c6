"""Look up which values of uniqueness rules are taken, for many objects in one statement."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.db.models import Base, Entity
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
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
        wanted = set(keys)
        if not wanted:
            return {}
        columns = [self.table.c[name] for name in (*self.own, *self.members)]
        # Narrowed by whose they are; the combinations are compared here.
        statement = sa.select(self.owner, *columns).where(any_of(columns[0], {key[0] for key in wanted}))
        rows = ((tuple(key), identity) for identity, *key in db.session.execute(statement))
        return {key: identity for key, identity in rows if key in wanted}


@functools.cache
def member_rules(model: type[Entity]) -> tuple[MemberRule, ...]:
    """The rules about members of a model's lists: keys that name the list, of tables that belong to the model's."""
    own = model.__table__.columns
    found = []
    for table in Base.metadata.sorted_tables:
        field = table.primary_key.info.get("fields", ("",))[0]
        owners = [key.parent for key in table.foreign_keys if key.column.table is model.__table__]
        if field in own and owners:
            names = [column.name for column in table.primary_key]
            above = tuple(name for name in names if name in own)
            members = tuple(name for name in names if name not in own)
            found.append(MemberRule(field, table, owners[0], above, members))
    return tuple(found)


def taken_keys(
    resource: Resource, wanted: Iterable[Key], fields: Sequence[str], folded: Sequence[str]
) -> dict[Key, int]:
    """Those of the keys of a uniqueness rule that are stored, with the id of their object."""
    table = resource.model.__table__
    keys = set(wanted)
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
    found: dict[Key, int] = {}
    for identity, *parts in db.session.execute(statement):
        key = key_of(parts, fields, folded)
        if key in keys:
            found[key] = identity
    return found


def key_of(values: Sequence[Any], fields: Sequence[str], folded: Sequence[str]) -> Key | None:
    """The key that a uniqueness rule compares, or None where the rule does not apply to these values."""
    if not folded:
        return None if None in values else tuple(values)
    if any(value is None and name in folded for name, value in zip(fields, values, strict=True)):
        return None
    return tuple(fold_value(value) if name in folded else value for name, value in zip(fields, values, strict=True))
