"""Paths: filters that reach through references, such as `server.datacenter=SH-1` in a list of GPUs.

An object that is below several others is reached through each: `server` of a service that runs in a container is the
server of this container.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import sqlalchemy as sa

from app.core.db.models import Entity
from app.core.errors import ParameterError
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind, fields_of
from app.resource.query.conditions import Clause, clause_of
from app.resource.query.filters import Filter, filter_names, parse_filter, unknown
from app.resource.query.known_names import require_known_names
from app.resource.rows import Private

Route = Callable[[sa.Select[Any] | None], Clause]
"""Given the ids of objects: whether a row refers to one of them; given None: whether it refers to any object."""


@dataclass(frozen=True)
class Referred:
    """What filters need to know of the objects that a reference leads to."""

    model: type[Entity]

    @property
    def fields(self) -> dict[str, Field]:
        return fields_of(self.model)

    @property
    def references(self) -> dict[str, Field]:
        return {field.reads_as: field for field in self.fields.values() if field.kind is Kind.REFERENCE}


def parse_condition(resource: Resource, parameter: str, texts: list[str]) -> tuple[Filter, Any]:
    """Read one parameter, with all its repetitions, into its shape and its value; raises BadRequest."""
    if not is_path(parameter):
        item, value = parse_filter(resource, parameter, texts)
        require_known_names(resource, parameter, item, value)
        return item, value
    head, _, rest = parameter.partition(".")
    references = open_references(resource)
    if head not in references:
        raise unknown("parameter", parameter, [*filter_names(resource), *(f"{name}." for name in references)])
    target = _referred(references[head])
    name = rest.partition("__")[0].partition(".")[0]
    if name not in (*filter_names(target), *open_references(target), "attributes"):
        raise unknown("parameter", parameter, [f"{head}.{each}" for each in filter_names(target)])
    try:
        item, value = parse_condition(target, rest, texts)
    except ParameterError as error:
        nearest = [f"{head}.{each}" for each in error.facts.get("did_you_mean", ())]
        if nearest and error.reason != "unknown_name":
            error.rename(f"{head}.{rest}", nearest)
        else:
            error.rename(f"{head}.{rest}")
        raise
    return replace(item, name=f"{head}.{item.name}"), value


def condition_of(resource: Resource, item: Filter, parameter: str) -> Clause:
    """The condition of a filter whose value arrives in the statement's parameter of that name."""
    if not is_path(item.name):
        return clause_of(resource, item, parameter)
    head, _, rest = item.name.partition(".")
    target = _referred(resource.references[head])
    positive = replace(item, name=rest, operator="" if item.operator == "ne" else item.operator)
    target_ids = sa.select(target.model.__table__.c.id).where(condition_of(target, positive, parameter))
    routes = list(_routes(resource, head, target.model))
    reached = sa.or_(*(route(target_ids) for route in routes))
    if item.operator == "ne":
        # What refers to nothing is different from every value.
        return sa.not_(sa.func.coalesce(reached, sa.false()))
    if item.operator == "isnull":
        refers = sa.func.coalesce(sa.or_(*(route(None) for route in routes)), sa.false())
        return sa.or_(reached, sa.and_(sa.not_(refers), sa.bindparam(parameter, type_=sa.Boolean) == sa.true()))
    return reached


def models_on(resource: Resource, name: str) -> set[type[Entity]]:
    """The models of the other tables that the condition of a filter reads."""
    head, _, rest = name.partition(".")
    field = resource.references.get(head)
    if field is None or field.target is None:
        return set()
    beside = {parent.target for parent in _parents(resource) if parent.target} if rest else set()
    return {field.target, *beside, *models_on(_referred(field), rest)}


def is_path(name: str) -> bool:
    """Whether a filter reaches through a reference; a dot also stands before the key of an attribute."""
    head, dot, _ = name.partition(".")
    return bool(dot) and head != "attributes"


def open_references(resource: Resource) -> dict[str, Field]:
    """The references that a path may go through: those that clients write, to objects that everybody may read."""
    return {
        name: field
        for name, field in resource.references.items()
        if not field.read_only and field.target is not None and not issubclass(field.target, Private)
    }


def _referred(field: Field) -> Resource:
    assert field.target is not None
    return cast(Resource, Referred(field.target))


def _parents(resource: Resource) -> Iterator[Field]:
    return (field for field in resource.references.values() if field.parent)


def _routes(resource: Resource, name: str, target: type[Entity]) -> Iterator[Route]:
    """The ways from a row to the objects that its reference of this name leads to: its own, its parents' ones."""
    field = resource.references.get(name)
    if field is not None and field.target is target:
        yield _own_route(field)
    for parent in _parents(resource):
        for route in _routes(_referred(parent), name, target):
            yield _route_over(parent, route)


def _own_route(field: Field) -> Route:
    return lambda ids: field.column.is_not(None) if ids is None else field.column.in_(ids)


def _route_over(parent: Field, route: Route) -> Route:
    assert parent.target is not None
    identity = parent.target.__table__.c.id
    return lambda ids: parent.column.in_(sa.select(identity).where(route(ids)))
