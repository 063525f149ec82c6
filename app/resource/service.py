"""Reading and writing one object, by its row; `objects` does it by the session. Never commits."""

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from werkzeug.datastructures import ETags

from app.core.audit.mac import row_to_change
from app.core.audit.recorder import changed as changes_of
from app.core.audit.recorder import created, record_of_row
from app.core.db.errors import from_database
from app.core.db.rules import SoftUnique
from app.core.db.statements import any_of, read_rows
from app.core.db.unit_of_work import db, unit_of_work
from app.core.errors import ApiError, BadHeader, Conflict, Forbidden, Invalid, NotFound, NotOwner, PreconditionFailed
from app.core.http.access import Actor, Role, current_actor
from app.core.messages import Message, Term, tr
from app.core.values import MAX_ID, as_json, same_json, utcnow
from app.resource.declaration import Resource
from app.resource.fields import Kind, defaults_of
from app.resource.json_fields import MAX_ITEMS, edit_members, limit_error, merge_attributes
from app.resource.rows import is_visible, next_id, read_row, row_write, settled_version, visible
from app.resource.schema import ADD, REMOVE, Sent
from app.resource.sent_back import check_sent_back
from app.resource.uniqueness import shared_key, shared_with

Row = dict[str, Any]
Child = TypeVar("Child")
Parent = tuple[str, int]
"""The reference field of the child, and the id of the parent."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_ETAG = re.compile(r'(W/)?"([^"]*)"')
_ETAGS = re.compile(r'\s*(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*\s*')


class SharedValue(Conflict):
    reason, message = "shared", tr("Another object has this value.")


def read(resource: Resource, object_id: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The object as its clients see it; raises NotFound."""
    item = read_row(resource, object_id, names)
    if item is None:
        raise not_found(resource, object_id)
    return item


def unchanged_tag(resource: Resource, object_id: int, tags: ETags) -> str | None:
    """The ETag of the object if it is among the tags and stands for all that a client sees of the object.

    The version alone does not: the names of what the object refers to may have changed since.
    """
    if not tags or object_id > MAX_ID:
        return None
    statement = settled_version(resource).where(*visible(resource.model))
    version = read_rows(statement, {"identity": object_id}).scalar_one_or_none()
    return f'"{version}"' if version is not None and tags.contains_weak(str(version)) else None


def create(resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
    """Store a new object of the acting user, and answer it as its clients see it.

    Raises Invalid and Conflict, and Forbidden below another's object.
    """
    require_parents(resource, values)
    model, now = resource.model, utcnow()
    row = {**defaults_of(model), **changed_values(resource, defaults_of(model), values)}
    require_valid(resource, row)
    row |= {
        "id": next_id(model.__table__),
        "version": 1,
        "created_by_id": current_actor().id,
    }
    row |= {"created_at": now, "updated_at": now}
    record = record_of_row("create", model, row, created(row, model))
    return _store(resource, row, tuple(row), record)


def change(resource: Resource, object_id: int, sent: Sent, if_match: str | None) -> dict[str, Any]:
    """Change an object by the fields of a write, and answer it; attributes and members of lists merge (changed_values).

    Equal values change nothing, also not the version. Raises NotFound; Forbidden where the acting user may not change
    the object, or not put it there; PreconditionFailed and BadRequest for `if_match`; Conflict for a value that is
    taken; Invalid for a rule of the object, a missing reference, and a read-only field that is not sent back as it is.
    """
    model = resource.model
    row = row_to_change(model, object_id) if object_id <= MAX_ID else None
    if row is None or not is_visible(model, row["created_by_id"]):
        raise not_found(resource, object_id)
    require_changeable(resource, row["created_by_id"])
    check_version(resource, object_id, row["version"], if_match)
    if sent.read_only:
        check_sent_back(resource, sent, read(resource, object_id))
    values = changed_values(resource, row, sent)
    require_parents(resource, values, row)
    new = differing(row, values)
    now = {**row, **new}
    require_valid(resource, now)
    if not new:
        return read(resource, object_id)
    now |= {"version": row["version"] + 1, "updated_at": utcnow()}
    record = record_of_row(unit_of_work().transaction.action, model, now, changes_of(row, new, model))
    return _store(resource, now, (*sorted(new), "version", "updated_at"), record)


def _store(resource: Resource, row: Row, names: tuple[str, ...], record: Row) -> dict[str, Any]:
    """Write these columns of a row with its audit record, and answer the object."""
    try:
        answer = row_write(resource, names).execute(row, record)
    except IntegrityError as error:
        db.session.rollback()
        raise explain(resource, row, error) from error
    if answer is None:
        db.session.rollback()
        raise PreconditionFailed(current=read(resource, row["id"]))
    return answer


def differing(row: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What of the values differs from the row."""
    return {
        name: value
        for name, value in values.items()
        if name in row and not same_json(as_json(value), as_json(row[name]))
    }


def changed_values(resource: Resource, stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the columns that a write sets, given those of the object before it.

    The object must be locked: of two people who change different keys, the second merges into what the first stored.
    Raises Invalid where an object would have too many attributes or a list too many members.
    """
    values = dict(sent)
    errors: dict[str, list[str]] = {}
    for field in resource.fields.values():
        name = field.name
        if field.kind is Kind.ATTRIBUTES and name in values:
            values[name] = merge_attributes(stored[name], values[name])
            if error := limit_error(values[name]):
                errors[name] = [error]
        elif field.kind is Kind.LIST and not {name + ADD, name + REMOVE}.isdisjoint(values):
            added, removed = values.pop(name + ADD, ()), values.pop(name + REMOVE, ())
            values[name] = edit_members(stored[name], added, removed)
            if len(values[name]) > MAX_ITEMS:
                errors[name + ADD] = [
                    tr(
                        "At most {max} members; with these there are {count}.",
                        rule="length",
                        max=MAX_ITEMS,
                        count=len(values[name]),
                    )
                ]
    if errors:
        raise Invalid(errors=errors)
    implied: dict[str, Any] = resource.model.implied(stored, values)
    return values | implied


def require_valid(resource: Resource, row: Mapping[str, Any]) -> None:
    """Raise Invalid for an object whose columns break its rules."""
    if errors := resource.model.validate(row):
        db.session.rollback()
        raise Invalid(errors=errors)


def may_change(resource: Resource, actor: Actor, created_by_id: int | None) -> bool:
    """Administrators change everything, others what they created of the resources that they may create."""
    return actor.is_admin or (resource.write is Role.USER and created_by_id == actor.id)


def require_parents(resource: Resource, values: Mapping[str, Any], before: Mapping[str, Any] = _NOTHING) -> None:
    """Raise Forbidden where the acting user may not add to a parent among the values of an object; see `parents_in`.

    Otherwise a server would have children that its owner can neither change nor delete, and so could not be deleted.
    """
    actor = current_actor()
    additions = [(None, parent) for parent in parents_in(resource, values, before)]
    for _, parent in closed_parents(resource, actor, additions):
        raise closed_parent_error(resource, parent)


def parents_in(resource: Resource, values: Mapping[str, Any], before: Mapping[str, Any]) -> list[Parent]:
    """The parents that values give an object which had others before."""
    return [
        (field.name, values[field.name])
        for field in resource.references.values()
        if field.parent and values.get(field.name) not in (None, before.get(field.name))
    ]


def closed_parents(
    resource: Resource, actor: Actor, additions: Collection[tuple[Child, Parent]]
) -> Iterator[tuple[Child, Parent]]:
    """Those of the children whose parent belongs to somebody else, with it; a missing parent does not.

    One statement for each field, none for administrators.
    """
    for name in {name for _, (name, _) in additions} if not actor.is_admin else ():
        target = resource.fields[name].target
        assert target is not None
        table = target.__table__
        ids = any_of(table.c.id, {identity for _, (field, identity) in additions if field == name})
        others = sa.select(table.c.id).where(ids, table.c.created_by_id.is_distinct_from(actor.id))
        closed = {(name, identity) for identity in db.session.scalars(others)}
        yield from (each for each in additions if each[1] in closed)


def closed_parent_error(resource: Resource, parent: Parent) -> Forbidden:
    """The error of who adds to somebody else's object."""
    name, identity = parent
    target = resource.fields[name].target
    assert target is not None
    message = tr(
        "Only the creator of {what} {identity} and administrators add to it.",
        rule="not_owner",
        what=target.__tablename__.removesuffix("s"),
        identity=identity,
    )
    return NotOwner(message, errors={name: [message]})


def require_changeable(resource: Resource, created_by_id: int | None) -> None:
    """Raise Forbidden where the acting user may not change an object of this creator."""
    if not may_change(resource, current_actor(), created_by_id):
        raise NotOwner()


def not_found(resource: Resource, object_id: int) -> NotFound:
    """The error of a request for an object that does not exist, or that the acting user does not see."""
    return NotFound(tr("There is no {what} {object_id}.", what=singular(resource), object_id=object_id))


def refuse_shared(resource: Resource, values: Mapping[str, Any], query: Mapping[str, bool]) -> None:
    """Enforce the soft rules that the query of a write names, on an object that has been stored; raises Conflict."""
    for rule in resource.model.rarely_shared:
        key = shared_key(rule, resource.model, values) if query[rule.name] else None
        if key is not None and (holder := shared_with(resource, rule, [key], {values["id"]}).get(key)):
            raise shared(rule, called(resource, holder))


def called(resource: Resource, object_id: int) -> Message:
    """An object at the beginning of a sentence."""
    return tr("{what} {object_id}", what=singular(resource).at_start(), object_id=object_id)


def shared(rule: SoftUnique, holder: str) -> Conflict:
    """The error of a write that shares what it asked not to share."""
    message = tr("{holder} has this {noun}.", rule="shared", holder=holder, noun=rule.noun)
    return SharedValue(message, errors={rule.fields[-1]: [message]})


def check_version(resource: Resource, object_id: int, version: int, if_match: str | None) -> None:
    """Honour an If-Match header: raises PreconditionFailed with the object as it is now, or BadRequest."""
    if if_match is None or if_match.strip() == "*":
        return
    if not _ETAGS.fullmatch(if_match):
        raise BadHeader(tr('If-Match must be an ETag such as "3".'))
    # The comparison is strong (RFC 9110, 13.1.1): a weak tag matches nothing, not even itself.
    if ("", str(version)) not in _ETAG.findall(if_match):
        raise PreconditionFailed(current=read(resource, object_id))


@functools.cache
def singular(resource: Resource) -> Term:
    """What people call one object of a resource within a sentence."""
    return Term(resource.words.removesuffix("s"), Term.of(resource.titles).chinese)


@functools.cache
def plural(resource: Resource) -> Term:
    """What people call the objects of a resource within a sentence."""
    return Term(resource.words, Term.of(resource.titles).chinese)


def explain(resource: Resource, values: Mapping[str, Any], error: IntegrityError) -> ApiError:
    """Name the field behind a violated constraint; a foreign key's by looking which object is missing."""
    translated = from_database(error)
    if translated.reason != "reference":
        return translated
    missing = {}
    for field in resource.references.values():
        assert field.target is not None
        identity = values[field.name]
        if identity is not None and db.session.get(field.target, identity) is None:
            missing[field.name] = [
                tr("There is no {what} {id}.", rule="reference", what=field.term, id=as_json(identity))
            ]
    return Invalid(errors=missing) if missing else translated
