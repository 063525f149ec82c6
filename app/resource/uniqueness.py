"""Which values of uniqueness rules are taken already, asked of the database for many objects at once."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.database import db
from app.core.statements import any_of
from app.resource.declaration import Resource

Key = tuple[Any, ...]


def taken_keys(
    resource: Resource, wanted: Iterable[Key], fields: Sequence[str], folded: Sequence[str]
) -> dict[Key, int]:
    """Which of these combinations of a uniqueness rule's fields are stored already, and by which object."""
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
    condition = any_of(sa.func.lower(column) if fields[narrow] in folded else column, values)
    statement = sa.select(table.c.id, *(table.c[name] for name in fields)).where(condition)
    found: dict[Key, int] = {}
    for identity, *parts in db.session.execute(statement):
        key = key_of(parts, fields, folded)
        if key in keys:
            found[key] = identity
    return found


def key_of(values: Sequence[Any], fields: Sequence[str], folded: Sequence[str]) -> Key | None:
    """What is compared of a uniqueness rule's fields, or None where the rule does not apply to these values."""
    if not folded:
        return None if None in values else tuple(values)
    return tuple(fold(value) if name in folded else value for name, value in zip(fields, values, strict=True))


def fold(value: Any) -> Any:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value
