"""Reading and writing one object. Flushes, so that constraints fail here; never commits."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.datastructures import ETags

from app.core.audit.mac import get_to_change
from app.core.db.errors import from_database
from app.core.db.rules import SoftUnique
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import db
from app.core.errors import ApiError, BadHeader, Conflict, Invalid, NotFound, NotOwner, PreconditionFailed
from app.core.http.access import current_actor
from app.core.messages import Term, tr
from app.core.values import MAX_ID, as_json
from app.resource.declaration import Resource
from app.resource.fields import Kind, defaults_of
from app.resource.json_fields import MAX_ITEMS, edit_members, limit_error, merge_attributes
from app.resource.projection import projection_of, settled_version
from app.resource.rights import is_visible, may_change, require_parents, sees_own_only, visible
from app.resource.schema import ADD, REMOVE, Sent
from app.resource.sent_back import check_sent_back
from app.resource.uniqueness import shared_key, shared_with

_ETAG = re.compile(r'(W/)?"([^"]*)"')
_ETAGS = re.compile(r'\s*(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*\s*')


class Shared(Conflict):
    reason, message = "shared", tr("Another object has this value.")


def get(resource: Resource, object_id: int, *, to_change: bool = False) -> Any:
    """The object by its id. With `to_change` it is locked until the transaction ends.

    Raises NotFound, and Forbidden where the acting user may not change it.
    """
    if not to_change:
        target = db.session.get(resource.model, object_id) if object_id <= MAX_ID else None
        return _require_visible(resource, object_id, target)
    target = get_locked(resource, object_id)
    if not may_change(resource, current_actor(), target.created_by_id):
        raise NotOwner()
    return target


def get_locked(resource: Resource, object_id: int) -> Any:
    """The object by its id, locked until the transaction ends, for an action with its own rule of who may do it.

    Raises NotFound.
    """
    target = get_to_change(resource.model, object_id) if object_id <= MAX_ID else None
    return _require_visible(resource, object_id, target)


def _require_visible(resource: Resource, object_id: int, target: Any) -> Any:
    """What was found by the id; raises NotFound if it is None, or an object that the acting user does not see."""
    if target is None or not is_visible(resource.model, target.created_by_id):
        raise NotFound(tr("There is no {what} {object_id}.", what=singular(resource), object_id=object_id))
    return target


def read(resource: Resource, object_id: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The object as its clients see it; raises NotFound."""
    projection = projection_of(resource, names)
    rows: Sequence[Any] = ()
    if object_id <= MAX_ID:
        viewer = current_actor().id if sees_own_only(resource.model) else None
        statement = projection.one if viewer is None else projection.one_own
        rows = statement.rows({"identity": object_id} if viewer is None else {"identity": object_id, "viewer": viewer})
    if not rows:
        raise NotFound(tr("There is no {what} {object_id}.", what=singular(resource), object_id=object_id))
    return projection.render(rows[0])


def unchanged_tag(resource: Resource, object_id: int, tags: ETags) -> str | None:
    """The ETag of the object if it is among the tags and stands for all that a client sees of the object.

    The version alone does not: the names of what the object refers to may have changed since.
    """
    if not tags or object_id > MAX_ID:
        return None
    statement = settled_version(resource).where(*visible(resource.model))
    version = read_rows(statement, {"identity": object_id}).scalar_one_or_none()
    return f'"{version}"' if version is not None and tags.contains_weak(str(version)) else None


def create(resource: Resource, values: Mapping[str, Any]) -> Any:
    """Store a new object of the acting user; raises Invalid and Conflict, and Forbidden below another's object."""
    require_parents(resource, values)
    columns = changed_values(resource, defaults_of(resource.model), values)
    target = resource.model(**columns, created_by_id=current_actor().id)
    db.session.add(target)
    return save(resource, target)


def change(resource: Resource, target: Any, sent: Sent) -> Any:
    """Change a locked object by the fields of a write, of which some merge into what is stored; see `save`.

    Raises Invalid also for a read-only field that is not sent back as it is.
    """
    if sent.read_only:
        check_sent_back(resource, sent, read(resource, target.id))
    stored = {name: getattr(target, name) for name in resource.fields}
    return update(resource, target, changed_values(resource, stored, sent))


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


def update(resource: Resource, target: Any, values: Mapping[str, Any]) -> Any:
    """Set the columns that are given; equal values change nothing, also not the version.

    Raises what `save` raises, and Forbidden where the object would come below another's.
    """
    require_parents(resource, values, target)
    for name, value in values.items():
        setattr(target, name, value)
    return save(resource, target)


def save(resource: Resource, target: Any) -> Any:
    """Write a changed object now, so that its rules answer here.

    Raises Invalid for a rule of the object, a missing reference or a CHECK constraint; Conflict for a value that is
    taken; PreconditionFailed where another transaction has changed the object meanwhile.
    """
    values = {column.key: getattr(target, column.key) for column in target.__table__.columns}
    errors = target.validate(values)
    if errors:
        db.session.rollback()
        raise Invalid(errors=errors)
    try:
        db.session.flush()
    except IntegrityError as error:
        db.session.rollback()
        raise _explain(resource, values, error) from error
    except StaleDataError:
        db.session.rollback()
        raise PreconditionFailed(current=read(resource, values["id"])) from None
    return target


def refuse_shared(resource: Resource, target: Any, query: Mapping[str, bool]) -> None:
    """Enforce the soft rules that the query of a write names, on an object that has been saved; raises Conflict."""
    values = {column.key: getattr(target, column.key) for column in target.__table__.columns}
    for rule in resource.model.rarely_shared:
        key = shared_key(rule, resource.model, values) if query[rule.name] else None
        if key is not None and (holder := shared_with(resource, rule, [key], {values["id"]}).get(key)):
            raise shared(rule, f"{singular(resource).capitalize()} {holder}")


def shared(rule: SoftUnique, holder: str) -> Conflict:
    """The error of a write that shares what it asked not to share."""
    message = tr("{holder} has this {noun}.", rule="shared", holder=holder, noun=rule.noun)
    return Shared(message, errors={rule.fields[-1]: [message]})


def check_version(resource: Resource, target: Any, if_match: str | None) -> None:
    """Honour an If-Match header: raises PreconditionFailed with the object as it is now, or BadRequest."""
    if if_match is None or if_match.strip() == "*":
        return
    if not _ETAGS.fullmatch(if_match):
        raise BadHeader(tr('If-Match must be an ETag such as "3".'))
    # The comparison is strong (RFC 9110, 13.1.1): a weak tag matches nothing, not even itself.
    if ("", str(target.version)) not in _ETAG.findall(if_match):
        raise PreconditionFailed(current=read(resource, target.id))


@functools.cache
def singular(resource: Resource) -> Term:
    """What people call one object of a resource within a sentence."""
    return Term(resource.name.removesuffix("s").replace("_", " "), Term.of(resource.titles).chinese)


def _explain(resource: Resource, values: Mapping[str, Any], error: IntegrityError) -> ApiError:
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
