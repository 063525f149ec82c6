"""What no two objects may share: names within their parent, serial numbers, addresses."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from app.core.database import Entity, unique_fields
from app.resource.declaration import Resource
from app.resource.service import singular
from app.resource.uniqueness import Key, key_of, taken_keys
from app.transfer.drafts import Draft


def check_unique(resource: Resource, drafts: Sequence[Draft]) -> None:
    """Refuse what two rows of the file, or a row and a stored object, would both call theirs."""
    for fields, folded in unique_fields(resource.model.__table__):
        _check(resource, drafts, fields, folded)


def _check(resource: Resource, drafts: Sequence[Draft], fields: Sequence[str], folded: Sequence[str]) -> None:
    seen: dict[Key, Draft] = {}
    asked: dict[Key, Draft] = {}
    new = defaults_of(resource.model)
    for draft in drafts:
        values = draft.values
        if not any(name in values for name in fields):
            continue
        if draft.errors and not {error["field"] for error in draft.errors}.isdisjoint(fields):
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
    for key, identity in taken_keys(resource, asked, fields, folded).items():
        if identity != asked[key].object_id:
            title = resource.fields[fields[-1]].title
            message = f"Another {singular(resource)} ({identity}) has this {title} already."
            asked[key].fail(fields[-1], "taken", message)


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
