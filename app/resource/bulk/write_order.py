"""The order in which changes are written: what one object gives up must be free before another one takes it.

Indexes are unique from row to row of a statement, and one over folded text cannot wait for the commit. So an object
that takes a value is written after the one that gives it up. Where objects give values to each other in a circle, one
of them is parked: it leaves its value for a moment, in a change of its own with its own record.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.db.models import Entity
from app.core.db.rules import UniqueRule
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.resource.uniqueness import Key, MemberRule, index_rules, key_of, member_rules

Values = Mapping[str, Any]
KeyOfRule = tuple[int, Key]
"""A key that an object has under a rule, given by its number, so that no other object can have it."""


class Step(NamedTuple):
    """One write: the change of an object, or before that its parking with some values instead of the stored ones."""

    object_id: int
    stored: Values | None = None
    parked: Values | None = None


class WriteOrder:
    """The order for changes of objects of one model, which are locked."""

    def __init__(self, model: type[Entity]) -> None:
        self._table = model.__table__
        self._rules: tuple[UniqueRule | MemberRule, ...] = (*index_rules(model), *member_rules(model))
        self._fields = {name for rule in self._rules for name in _fields_of(rule)}
        self._stored: dict[int, Values] = {}
        self._givers: dict[KeyOfRule, int] = {}
        self._taken: dict[int, set[KeyOfRule]] = {}

    def concerns(self, new: Collection[str]) -> bool:
        """Whether a change sets fields of a unique key."""
        return not self._fields.isdisjoint(new)

    def add(self, new: Mapping[int, Values]) -> None:
        """Note the new values of objects by their ids; the database still has the old ones."""
        new = {identity: values for identity, values in new.items() if self.concerns(values)}
        for stored in self._read(new):
            identity: int = stored["id"]
            self._stored[identity] = stored
            before, after = set(self._claims(stored)), set(self._claims({**stored, **new[identity]}))
            self._givers |= dict.fromkeys(before - after, identity)
            self._taken[identity] = after - before

    def takers(self) -> dict[int, set[int]]:
        """The objects that take what others give up, each with those that are written before it."""
        givers = {
            identity: {self._givers[claim] for claim in taken & self._givers.keys()}
            for identity, taken in self._taken.items()
        }
        return {identity: before for identity, before in givers.items() if before}

    def steps(self) -> Iterator[Step]:
        """The writes of all takers in an order in which each value is free when it is taken."""
        takers = self.takers()
        begun: dict[int, Iterator[int]] = {}
        written: set[int] = set()
        parked: set[int] = set()
        for first in sorted(takers):
            # A chain can be longer than Python's stack is deep.
            chain = [] if first in written else [first]
            while chain:
                identity = chain[-1]
                before = begun.setdefault(identity, iter(sorted(takers[identity])))
                following = next((other for other in before if other in takers and other not in written), None)
                if following is None:
                    written.add(identity)
                    yield Step(chain.pop())
                elif following not in begun:
                    chain.append(following)
                elif following not in parked:
                    parked.add(following)
                    yield self._parking(following)

    def _read(self, ids: Collection[int]) -> Iterator[Values]:
        if not ids:
            return iter(())
        columns = [self._table.c[name] for name in sorted({"id", *self._fields})]
        rows = db.session.execute(sa.select(*columns).where(any_of(self._table.c.id, ids)))
        return map(dict, rows.mappings())

    def _claims(self, values: Values) -> Iterator[KeyOfRule]:
        for number, rule in enumerate(self._rules):
            if isinstance(rule, MemberRule):
                yield from ((number, key) for key in rule.keys(values))
            elif (key := key_of([values[name] for name in rule.fields], *rule)) is not None:
                yield number, key

    def _parking(self, identity: int) -> Step:
        """The step after which an object no longer has any value that it gives up."""
        stored = self._stored[identity]
        released = {claim[0] for claim in self._claims(stored) if self._givers.get(claim) == identity}
        parked = dict(self._parked(self._rules[number]) for number in released)
        return Step(identity, {name: stored[name] for name in parked}, parked)

    def _parked(self, rule: UniqueRule | MemberRule) -> tuple[str, Any]:
        if isinstance(rule, MemberRule):
            return rule.field, []
        name = rule.fields[-1]
        return name, None if self._table.c[name].nullable else f"~{uuid.uuid4().hex}"


def _fields_of(rule: UniqueRule | MemberRule) -> Sequence[str]:
    return (rule.field, *rule.own) if isinstance(rule, MemberRule) else rule.fields
