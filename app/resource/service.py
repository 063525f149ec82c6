"""Reading and writing one object, by its row; `objects` does it by the session. Never commits."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from werkzeug.datastructures import ETags

from app.core.audit.mac import row_to_change
from app.core.audit.models import STORED, WRITTEN
from app.core.audit.recorder import changed as changes_of
from app.core.audit.recorder import created, record_of_row
from app.core.db.dialects.protocol import Dialect
from app.core.db.dialects.registry import current_dialect
from app.core.db.errors import from_database
from app.core.db.models import Id
from app.core.db.rules import SoftUnique
from app.core.db.statements import Prepared, read_rows
from app.core.db.unit_of_work import db, touch, unit_of_work
from app.core.errors import ApiError, BadHeader, Conflict, Invalid, NotFound, NotOwner, PreconditionFailed
from app.core.http.access import current_actor
from app.core.messages import Message, Term, tr
from app.core.values import MAX_ID, as_json, same_json, utcnow
from app.resource.declaration import Resource
from app.resource.fields import Kind, defaults_of
from app.resource.json_fields import MAX_ITEMS, edit_members, limit_error, merge_attributes
from app.resource.projection import project, projection_of, settled_version
from app.resource.rights import is_visible, may_change, require_parents, sees_own_only, visible
from app.resource.schema import ADD, REMOVE, Sent
from app.resource.sent_back import check_sent_back
from app.resource.uniqueness import shared_key, shared_with

Row = dict[str, Any]

_ETAG = re.compile(r'(W/)?"([^"]*)"')
_ETAGS = re.compile(r'\s*(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*\s*')


class SharedValue(Conflict):
    reason, message = "shared", tr("Another object has this value.")


def read(resource: Resource, object_id: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The object as its clients see it; raises NotFound."""
    projection = projection_of(resource, names)
    rows: Sequence[Any] = ()
    if object_id <= MAX_ID:
        viewer = current_actor().id if sees_own_only(resource.model) else None
        statement = projection.one if viewer is None else projection.one_own
        rows = statement.rows({"identity": object_id} if viewer is None else {"identity": object_id, "viewer": viewer})
    if not rows:
        raise not_found(resource, object_id)
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


def create(resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
    """Store a new object of the acting user, and answer it as its clients see it.

    Raises Invalid and Conflict, and Forbidden below another's object.
    """
    require_parents(resource, values)
    model, now = resource.model, utcnow()
    row = {**defaults_of(model), **changed_values(resource, defaults_of(model), values)}
    require_valid(resource, row)
    row |= {
        "id": _next_id(model.__table__, current_dialect()).rows({})[0][0],
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


class RowWrite:
    """How a row is written together with its audit record and read as the answer; see `_row_write`."""

    def __init__(self, resource: Resource, names: tuple[str, ...]) -> None:
        table = resource.model.__table__
        given = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
        row: sa.Insert | sa.Update = sa.insert(table).values(given)
        if "id" not in given:
            identity, before = sa.bindparam("identity", type_=Id), sa.bindparam("before", type_=sa.Integer)
            row = sa.update(table).values(given).where(table.c.id == identity, table.c.version == before)
        record = {name: sa.bindparam(f"record_{name}", type_=STORED.c[name].type) for name in WRITTEN}
        self._names = names
        self._tables = table.name, STORED.name
        self._answer = projection_of(resource)
        self._statements = (
            Prepared(row.returning(table.c.id)),
            Prepared(sa.insert(STORED).inline().values(record)),
            self._answer.one,
        )
        written = row.returning(*table.c).cte("written")
        recorded = sa.insert(STORED).from_select(WRITTEN, sa.select(*record.values()).select_from(written))
        self._as_one = Prepared(project(resource, written)[0].add_cte(recorded.cte("recorded")))

    def execute(self, row: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write the row as it is from now on; None, and nothing is written, if it is not at the version before.

        Raises DBAPIError.
        """
        values = {f"new_{name}": row[name] for name in self._names}
        values |= {f"record_{name}": value for name, value in record.items()}
        values |= {"identity": row["id"], "before": row["version"] - 1}
        touch(*self._tables)
        if current_dialect().statements.WITH_MAY_WRITE:
            rows = self._as_one.rows(values)
        else:
            write_row, write_record, read_answer = self._statements
            if rows := write_row.rows(values):
                write_record.rows(values)
                rows = read_answer.rows(values)
        return self._answer.render(rows[0]) if rows else None


@functools.lru_cache(maxsize=1024)
def _row_write(resource: Resource, names: tuple[str, ...]) -> RowWrite:
    """The write of these columns: of a new row if its id is among them, else of the row at the version before."""
    return RowWrite(resource, names)


@functools.cache
def _next_id(table: sa.Table, dialect: Dialect) -> Prepared:
    return Prepared(dialect.statements.select_next_id(table))


def _store(resource: Resource, row: Row, names: tuple[str, ...], record: Row) -> dict[str, Any]:
    """Write these columns of a row with its audit record, and answer the object."""
    try:
        answer = _row_write(resource, names).execute(row, record)
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
