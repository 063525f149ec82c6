"""Finding records by what changed in them: which field, from which value, to which.

Each record has terms: the name of each changed field, `name<old`, `name>new` and `name<old>new`. Of a list,
`name<member` is what it has lost and `name>member` what it has got. An attribute is a field of its own,
`attributes.key`; its values are those of `attributes` too, so that they are found where no field is asked for.
PostgreSQL keeps the terms of each record but creations in an index (`audit_terms`, made by a migration). SQLite, which
is for small installations, makes them of each record that it reads.
"""

import functools
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import ARRAY

from app.catalog import CATALOG
from app.core.audit.changes import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.values import fold
from app.resource.fields import Kind

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
        # Said in the words of the index. What an object began with is no change of it.
        return sa.and_(logs.c.action != sa.literal_column("'create'"), self._found())

    def _found(self) -> Clause:
        # Implied by the terms, and cheaper to ask where the index is not what leads to the rows.
        implied = [
            _stands_in(sa.func.lower(logs.c.changes), orjson.dumps(fold(value)).decode()[1:-1])
            for value in (self.old, self.new)
            if value
        ]
        if self.field is not None:
            name = _columns().get(self.field, self.field)
            key = orjson.dumps(name.rpartition(".")[2]).decode()
            return sa.and_(_stands_in(logs.c.changes, f"{key}:"), *implied, _has_all(self._terms_of(name)))
        names = sorted({name for resource in CATALOG.values() for name in audited_columns(resource.model)})
        together = [wanted for wanted in map(self._terms_of, names) if len(wanted) > 1]
        alone = [wanted[0] for wanted in map(self._terms_of, names) if len(wanted) == 1]
        return sa.and_(*implied, sa.or_(_has_any(alone), *map(_has_all, together)))

    def _terms_of(self, name: str) -> list[str]:
        """The terms that a record must have of this field, as few as there can be."""
        old = "" if self.old is None else f"<{_short(self.old)}"
        new = "" if self.new is None else f">{_short(self.new)}"
        if old and new and name in _lists():
            # It may lose several members and get several, so each stands alone.
            return [name + old, name + new]
        return [name + old + new]


def _stands_in(text: sa.ColumnElement[str], part: str) -> Clause:
    found: sa.ColumnElement[int] = sa.func.strpos(text, part) if _is_indexed() else sa.func.instr(text, part)
    return found > 0


def _has_all(wanted: Sequence[str]) -> Clause:
    if _is_indexed():
        clause: Clause = _terms().contains(_texts(wanted))
        return clause
    return sa.and_(*(_has_any([term]) for term in wanted))


def _has_any(wanted: Sequence[str]) -> Clause:
    if _is_indexed():
        # Of values that it does not see the planner expects few records, and of many that it sees a quarter of the log.
        clause: Clause = _terms().overlap(sa.select(_texts(wanted)).scalar_subquery())
        return clause
    each = sa.func.json_each(sa.func.audit_terms(logs.c.changes)).table_valued("value")
    return sa.exists().select_from(each).where(each.c.value.in_(wanted))


def _is_indexed() -> bool:
    return db.engine.dialect.name == "postgresql"


def _terms() -> Any:
    return sa.func.audit_terms(logs.c.changes, type_=ARRAY(sa.Text))


def _texts(values: Sequence[str]) -> sa.ColumnElement[list[str]]:
    return sa.literal(list(values), ARRAY(sa.Text))


def _short(value: str) -> str:
    if len(value) <= LONGEST:
        return fold(value)
    return hashlib.md5(fold(value).encode(), usedforsecurity=False).hexdigest()


@event.listens_for(sa.Engine, "connect")
def _lend_terms(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.create_function("audit_terms", 1, _terms_in, deterministic=True)


def _terms_in(changes: str) -> str:
    """The terms of a record as a JSON list, the same as PostgreSQL makes."""
    try:
        found = [term for name, facts in orjson.loads(changes).items() for term in _each_term(name, facts)]
        return orjson.dumps(found).decode()
    except (ValueError, AttributeError):
        return "[]"


def _each_term(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    old, new = facts.get("old"), facts.get("new")
    yield name
    yield from _terms_of_values(name, old, new)
    lost, got = (side if isinstance(side, list) else [] for side in (old, new))
    yield from (f"{name}<{_short(text)}" for one in lost if one not in got and (text := _text_of(one)) is not None)
    yield from (f"{name}>{_short(text)}" for one in got if one not in lost and (text := _text_of(one)) is not None)
    was, became = (side if isinstance(side, dict) else {} for side in (old, new))
    for key in was | became:
        if key not in was or key not in became or was[key] != became[key]:
            yield f"{name}.{key}"
            for holder in (f"{name}.{key}", name):
                yield from _terms_of_values(holder, was.get(key), became.get(key))


def _terms_of_values(name: str, old: Any, new: Any) -> Iterator[str]:
    texts = _text_of(old), _text_of(new)
    before = None if texts[0] is None else f"<{_short(texts[0])}"
    after = None if texts[1] is None else f">{_short(texts[1])}"
    if before is not None:
        yield name + before
    if after is not None:
        yield name + after
    if before is not None and after is not None:
        yield name + before + after


def _text_of(value: Any) -> str | None:
    """A value as it stands in a term; None for what is made of others."""
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@functools.cache
def _lists() -> frozenset[str]:
    """The fields whose values are lists of texts."""
    fields = (field for resource in CATALOG.values() for field in resource.fields.values())
    return frozenset(field.name for field in fields if field.kind is Kind.LIST)


@functools.cache
def _columns() -> dict[str, str]:
    """The column behind the name under which a reference is read: {"server": "server_id"}."""
    return {name: field.name for resource in CATALOG.values() for name, field in resource.references.items()}
