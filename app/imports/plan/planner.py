"""What an import would do: each row matched with its object, compared with it, and checked against all others.

Nothing here asks the database once per row: names, keys and objects are looked up for a whole table at a time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from app.core.http.access import Actor
from app.core.values import fold
from app.imports.models import Action, Mode
from app.imports.parse.rows import Draft
from app.imports.plan.matching import find_existing
from app.imports.plan.merge_rows import Planned, meet, number_by_name
from app.imports.plan.reference_check import check_mentions
from app.imports.plan.references import Named, resolve
from app.imports.plan.three_way_merge import refuse_overwriting
from app.imports.plan.uniqueness import check_unique, defaults_of, has_rule
from app.resource.declaration import Resource
from app.resource.service import may_change, singular


class Planner:
    """Plans the tables of one file, one after the other, those that are referred to first."""

    def __init__(self, actor: Actor, mode: Mode, match: str | None) -> None:
        self.actor = actor
        self.mode = mode
        self.match = match
        self._planned: dict[str, Sequence[Draft]] = {}
        self._named: dict[str, Named] = {}

    def plan(self, planned: Sequence[Planned]) -> None:
        """Decide what becomes of each draft of one resource's tables, noting every mistake in it."""
        for table, drafts in planned:
            for item in table.resource.references.values():
                if table.column_of(item.name) is not None:
                    assert item.target is not None
                    resolve(item, drafts, self._names_of(item.target.__tablename__))
            number_by_name(table.resource, drafts)
        check_mentions(planned, self._names_of)
        meet(planned)
        resource = planned[0][0].resource
        everything = list(chain.from_iterable(drafts for _, drafts in planned))
        drafts = [draft for draft in everything if draft.completes is None]
        find_existing(resource, [table for table, _ in planned], drafts, self.match)
        self._compare(resource, drafts)
        refuse_overwriting(resource, drafts)
        check_unique(resource, drafts)
        for draft in drafts:
            if draft.errors:
                draft.action = Action.ERROR
        self._planned[resource.name] = drafts
        for draft in everything:
            if draft.completes is not None:
                _follow(draft, draft.completes)

    def _names_of(self, name: str) -> Named:
        """The rows that describe objects of a resource, by folded name: found when other rows first refer to them."""
        if name not in self._named and name in self._planned:
            named: dict[str, list[Draft]] = defaultdict(list)
            for draft in self._planned[name]:
                label = draft.values.get(draft.table.resource.model.label)
                if isinstance(label, str):
                    named[fold(label)].append(draft)
            self._named[name] = named
        return self._named.get(name, {})

    def _compare(self, resource: Resource, drafts: Sequence[Draft]) -> None:
        """Find out what would change, and what speaks against it."""
        required = [(item.name, item.title) for item in resource.fields.values() if item.required]
        judged = has_rule(resource.model)
        for draft in drafts:
            if draft.existing is None:
                self._plan_creation(resource, draft, required)
            else:
                self._plan_change(resource, draft)
            if judged and not draft.errors:
                for name, messages in resource.model.flaws(merged(resource, draft)).items():
                    for message in messages:
                        draft.fail(name, "whole", message)

    def _plan_creation(self, resource: Resource, draft: Draft, required: Sequence[tuple[str, str]]) -> None:
        draft.action = Action.CREATE
        if self.mode is Mode.UPDATE:
            one = singular(resource)
            draft.fail(None, "missing", f"There is no such {one}, and this import only changes what there is.")
        if not self.actor.role.covers(resource.write):
            draft.fail(None, "forbidden", f"You are not allowed to create a {singular(resource)}.")
        values = draft.values
        for name, title in required:
            if values.get(name) is None and all(error["field"] != name for error in draft.errors):
                draft.fail(name, "required", f"{title} is required.")
        if draft.attributes:
            cleared = [name for name, value in draft.attributes.items() if value is None]
            for name in cleared:
                del draft.attributes[name]
            values["attributes"] = draft.attributes

    def _plan_change(self, resource: Resource, draft: Draft) -> None:
        existing = draft.existing
        if draft.attributes:
            draft.take_from(existing["attributes"])
            attributes = {**existing["attributes"], **draft.attributes}
            cleared = {name for name, value in draft.attributes.items() if value is None}
            draft.values["attributes"] = {name: value for name, value in attributes.items() if name not in cleared}
        changed = {name: value for name, value in draft.values.items() if existing[name] != value}
        label = resource.model.label
        if not changed:
            # The name stays known to the rows that refer to this one.
            draft.values = {label: existing[label]} if label in existing else {}
            draft.action = Action.UNCHANGED
            return
        draft.action = Action.UPDATE
        draft.old = {name: existing[name] for name in changed}
        if self.mode is Mode.CREATE:
            draft.fail(None, "exists", f"This {singular(resource)} exists, and this import only creates.")
        if not may_change(resource, self.actor, existing["created_by_id"]):
            draft.fail(None, "not_owner", "Only its creator and administrators may change this object.")
        draft.values = {label: existing.get(label), **changed} if label in existing else changed


def _follow(draft: Draft, first: Draft) -> None:
    """A row that completes another has no object of its own, and is wrong where the other is."""
    if first.errors and not draft.errors:
        draft.fail(None, "reference", f"It completes row {first.row} of {first.table.sheet.name}, which has mistakes.")
    draft.existing = first.existing
    draft.action = Action.ERROR if draft.errors else Action.UNCHANGED


def changes_of(draft: Draft) -> Mapping[str, Any]:
    """The fields that the draft sets: all that it fills of a new object, what differs of an existing one."""
    if draft.existing is None:
        return draft.values
    return {name: draft.values[name] for name in draft.old}


def merged(resource: Resource, draft: Draft) -> Mapping[str, Any]:
    """The object as it would be, as far as it was loaded."""
    base = defaults_of(resource.model) if draft.existing is None else draft.existing
    return {**base, **draft.values}
