"""What can be found to be wrong with the items of a bulk request without writing, for all of them at once.

Each check sets the errors of the items that it refuses, and looks at those only that have none yet.
"""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Invalid, taken
from app.core.http.access import current_actor
from app.core.messages import tr
from app.core.values import as_json
from app.resource.among import select_among
from app.resource.bulk.item import Item, Row
from app.resource.declaration import Resource
from app.resource.schema import Sent
from app.resource.sent_back import check_sent_back as check_one
from app.resource.service import called, closed_parent_error, closed_parents, parents_in, shared
from app.resource.uniqueness import Key, index_rules, key_of, shared_key, shared_with, taken_keys


def check(resource: Resource, merged: Mapping[Item, dict[str, Any]], *, creating: bool) -> None:
    """Set the errors that can be found without writing: rules, references, unique values."""
    for item, values in merged.items():
        if errors := resource.model.validate(values):
            item.error = Invalid(errors=errors)
    _check_references(resource, merged)
    for fields, folded in index_rules(resource.model):
        of_rule = {
            item: values
            for item, values in merged.items()
            if item.error is None and (creating or not set(fields).isdisjoint(item.values))
        }
        _check_unique(resource, of_rule, fields, folded)


def _check_references(resource: Resource, merged: Mapping[Item, dict[str, Any]]) -> None:
    for reference in resource.references.values():
        assert reference.target is not None
        sent = {item.values.get(reference.name) for item in merged} - {None}
        if not sent:
            continue
        target = reference.target.__table__
        existing = set(db.session.scalars(sa.select(target.c.id).where(any_of(target.c.id, sent))))
        for item in merged:
            identity = item.values.get(reference.name)
            if identity is not None and identity not in existing and item.error is None:
                message = tr("There is no {what} {id}.", rule="reference", what=reference.term, id=as_json(identity))
                item.error = Invalid(errors={reference.name: [message]})


def _check_unique(
    resource: Resource, merged: Mapping[Item, dict[str, Any]], fields: tuple[str, ...], folded: tuple[str, ...]
) -> None:
    keys: dict[Item, Key] = {}
    for item, values in merged.items():
        key = key_of([values[name] for name in fields], fields, folded)
        if key is not None:
            keys[item] = key
    stored = taken_keys(resource, set(keys.values()), fields, folded)
    ours = {item.object_id for item in keys}
    seen: set[Any] = set()
    for item, key in keys.items():
        holder = stored.get(key)
        # One of these objects may be about to give the value up: the database will know.
        if key in seen or (holder is not None and holder not in ours):
            item.error = taken(fields[-1])
        seen.add(key)


def check_shared(resource: Resource, merged: Mapping[Item, dict[str, Any]], query: Mapping[str, bool]) -> None:
    """Set the error of each item that breaks a soft rule which the query of the request enforces."""
    for rule in resource.model.rarely_shared:
        if not query[rule.name]:
            continue
        checked = {item: values for item, values in merged.items() if item.error is None}
        keys = {item: shared_key(rule, resource.model, values) for item, values in checked.items()}
        ours = {item.object_id for item in checked}
        stored = shared_with(resource, rule, {key for key in keys.values() if key}, ours)
        seen: set[Key] = set()
        for item, key in keys.items():
            if key in stored:
                item.error = shared(rule, called(resource, stored[key]))
            elif key in seen:
                item.error = shared(rule, tr("An item before"))
            elif key is not None:
                seen.add(key)


def check_parents(resource: Resource, before: Mapping[Item, Row]) -> None:
    """Refuse the items that would come below somebody else's object; `before` are their stored values."""
    additions = [(item, parent) for item, row in before.items() for parent in parents_in(resource, item.values, row)]
    for item, parent in closed_parents(resource, current_actor(), additions):
        item.error = closed_parent_error(resource, parent)


def check_sent_back(resource: Resource, items: Collection[Item]) -> None:
    """Set the error of each item with a read-only field that its object has not, or whose errors waited for that."""
    sent_back = {item: item.values for item in items if isinstance(item.values, Sent) and item.values.read_only}
    if not sent_back:
        return
    ids = [item.object_id for item in sent_back if item.object_id is not None]
    shown = {each["id"]: each for each in select_among(resource, "id", ids)}
    for item, sent in sent_back.items():
        try:
            check_one(resource, sent, shown[item.object_id])
        except Invalid as error:
            item.error = error
