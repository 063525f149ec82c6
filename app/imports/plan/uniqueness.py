"""What no two objects may share: names within their parent, serial numbers, addresses, ports of a server."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.core.db.models import Entity, unique_fields
from app.imports.parse.rows import Draft
from app.resource.declaration import Resource
from app.resource.service import singular
from app.resource.uniqueness import Key, MemberRule, key_of, member_rules, taken_keys
from app.resource.visibility import visible_ids


def check_unique(resource: Resource, drafts: Sequence[Draft]) -> None:
    """Refuse what two rows of the file, or a row and a stored object, would both call theirs."""
    for fields, folded in unique_fields(resource.model.__table__):
        _check(resource, drafts, fields, folded)
    for rule in member_rules(resource.model):
        _check_members(resource, drafts, rule)


def _check(resource: Resource, drafts: Sequence[Draft], fields: Sequence[str], folded: Sequence[str]) -> None:
    concerned = frozenset(fields)
    seen: dict[Key, Draft] = {}
    asked: dict[Key, Draft] = {}
    new = defaults_of(resource.model)
    for draft in drafts:
        values = draft.values
        if concerned.isdisjoint(values):
            continue
        if draft.errors and not concerned.isdisjoint(error["field"] for error in draft.errors):
            continue
        base = new if draft.existing is None else draft.existing
        key = key_of([values[name] if name in values else base[name] for name in fields], fields, folded)
        if key is None:
            continue
        first = seen.setdefault(key, draft)
        if first is not draft:
            fail_as_duplicate(draft, first, fields[-1])
        elif draft.existing is None or any(name in draft.old for name in fields):
            asked[key] = draft
    stored = taken_keys(resource, asked, fields, folded)
    taken = {key: identity for key, identity in stored.items() if identity != asked[key].object_id}
    another = _namer(resource, taken.values())
    for key, identity in taken.items():
        title = resource.fields[fields[-1]].title
        asked[key].fail(fields[-1], "taken", f"{another(identity)} has this {title} already.")


def _check_members(resource: Resource, drafts: Sequence[Draft], rule: MemberRule) -> None:
    concerned = {rule.field, *rule.own}
    seen: dict[Key, Draft] = {}
    asked: dict[Key, Draft] = {}
    kept: dict[int, set[Key]] = {}
    new = defaults_of(resource.model)
    for draft in drafts:
        if concerned.isdisjoint(draft.values) or not concerned.isdisjoint(error["field"] for error in draft.errors):
            continue
        keys = set(rule.keys({**(new if draft.existing is None else draft.existing), **draft.values}))
        if draft.existing is not None and not draft.errors:
            kept[draft.existing["id"]] = keys
        for key in keys:
            first = seen.setdefault(key, draft)
            if first is not draft:
                where = "" if first.table is draft.table else f" of {first.table.sheet.name}"
                _fail_member(draft, rule, key, "duplicate", f"Row {first.row}{where}")
            elif draft.existing is None or not concerned.isdisjoint(draft.old):
                asked[key] = draft
    # What others are is known to the database by id: below what the file itself creates nobody has anything yet.
    stored = rule.taken(key for key in asked if not any(isinstance(part, Draft) for part in key))
    taken = {key: identity for key, identity in stored.items() if identity != asked[key].object_id}
    another = _namer(resource, taken.values())
    for key, identity in taken.items():
        # Changes come before creations: what a row of the file gives up is free for one that creates.
        if asked[key].existing is not None or key in kept.get(identity, (key,)):
            _fail_member(asked[key], rule, key, "taken", another(identity))


def _fail_member(draft: Draft, rule: MemberRule, key: Key, mistake: str, who: str) -> None:
    """Note that somebody else has what a member of a list takes, at the list's cell or at that of whose it is."""
    fields = draft.table.resource.fields
    at = next((name for name in (rule.field, *rule.own) if name in draft.values), rule.field)
    said = "/".join(str(part) for part in reversed(key[len(rule.own) :]))
    where = " and ".join(fields[name].title.lower() for name in rule.own)
    draft.fail(at, mistake, f"{who} has {said} on this {where} already.", value=said)


def _namer(resource: Resource, ids: Iterable[int]) -> Callable[[int], str]:
    """What to call an object that is in the way: by its id, where the acting user sees it."""
    known = visible_ids(resource.model, set(ids))
    one = f"Another {singular(resource)}"
    return lambda identity: f"{one} ({identity})" if identity in known else one


def fail_as_duplicate(draft: Draft, first: Draft, name: str) -> None:
    """Note that an earlier row describes the same object."""
    where = "" if first.table is draft.table else f" of {first.table.sheet.name}"
    draft.fail(name, "duplicate", f"Row {first.row}{where} describes the same {singular(draft.table.resource)}.")


@functools.cache
def defaults_of(model: Any) -> Mapping[str, Any]:
    """What a new object has where nothing is said."""
    values: dict[str, Any] = {}
    for column in model.__table__.columns:
        default: Any = column.default
        values[column.key] = None
        if default is not None:
            values[column.key] = default.arg(None) if default.is_callable else default.arg
    return values


def has_rule(model: type[Entity]) -> bool:
    """Whether a model says what is wrong with an object as a whole; it may look at any of its values."""
    return getattr(model.flaws, "__func__", None) is not getattr(Entity.flaws, "__func__", None)
