"""Finding records by what changed in them: which field, from which value, to which.

PostgreSQL keeps the terms of each record but creations in an index (`audit_terms`, made by a migration): the name of
each changed field, `name<old`, `name>new` and `name<old>new`. SQLite, which is for small installations, reads the
documents.
"""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from app.catalog import CATALOG
from app.core.audit import AuditLog, audited_columns
from app.core.database import db
from app.core.values import fold

Clause = sa.ColumnElement[bool]

logs = AuditLog.__table__

LONGEST = 64
"""Characters of a value that stand in a term as they are; of a longer one it is the MD5, as in `audit_terms`."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What must have changed. None asks for nothing, an empty text for the absence of a value."""

    field: str | None = None
    old: str | None = None
    new: str | None = None

    def __bool__(self) -> bool:
        return self != Changed()

    @property
    def condition(self) -> Clause:
        """Whether one change of a record is all of this; text is compared ignoring case."""
        found = self._by_terms() if db.engine.dialect.name == "postgresql" else self._by_documents()
        # Said in the words of the index. What an object began with is no change of it.
        return sa.and_(logs.c.action != sa.literal_column("'create'"), found)

    @property
    def has_value(self) -> bool:
        """Whether a value is asked for, and not only a field."""
        return self.old is not None or self.new is not None

    def _by_terms(self) -> Clause:
        terms: Any = sa.func.audit_terms(logs.c.changes, type_=ARRAY(sa.Text))
        # Implied by the terms, and cheaper to ask where the index is not what leads to the rows.
        implied: list[Clause] = [
            sa.func.strpos(sa.func.lower(logs.c.changes), orjson.dumps(fold(value)).decode()[1:-1]) > 0
            for value in (self.old, self.new)
            if value
        ]
        if self.field is None:
            names = {name for resource in CATALOG.values() for name in audited_columns(resource.model)}
            found: Clause = terms.overlap(_texts(sorted(map(self._term_of, names))))
            return sa.and_(*implied, found)
        name = _columns().get(self.field, self.field)
        named = sa.func.strpos(logs.c.changes, f'"{name}":') > 0
        return sa.and_(named, *implied, terms.contains(_texts([self._term_of(name)])))

    def _term_of(self, name: str) -> str:
        old = "" if self.old is None else f"<{_short(self.old)}"
        new = "" if self.new is None else f">{_short(self.new)}"
        return f"{name}{old}{new}"

    def _by_documents(self) -> Clause:
        each = sa.func.json_each(logs.c.changes).table_valued("key", "value")
        wanted: list[Clause] = []
        if self.field is not None:
            wanted.append(each.c.key == _columns().get(self.field, self.field))
        for side, value in (("$.old", self.old), ("$.new", self.new)):
            if value is not None:
                wanted.append(_is(each.c.value, side, value))
        return sa.exists().select_from(each).where(*wanted)


def _texts(values: list[str]) -> sa.ColumnElement[list[str]]:
    return sa.literal(values, ARRAY(sa.Text))


def _short(value: str) -> str:
    if len(value) <= LONGEST:
        return fold(value)
    return hashlib.md5(fold(value).encode(), usedforsecurity=False).hexdigest()


def _is(change: sa.ColumnElement[str], side: str, value: str) -> Clause:
    kind, found = sa.func.json_type(change, side), sa.func.json_extract(change, side)
    if value == "":
        return kind == "null"
    # SQLite has no booleans: it would show them as 1 and 0.
    text = sa.case((kind == "true", "true"), (kind == "false", "false"), else_=sa.cast(found, sa.Text))
    return sa.and_(kind.not_in(["null", "array", "object"]), sa.func.lower(text) == fold(value))


@functools.cache
def _columns() -> dict[str, str]:
    """The column behind the name under which a reference is read: {"server": "server_id"}."""
    return {name: field.name for resource in CATALOG.values() for name, field in resource.references.items()}
