"""Describe the resources to a caller: their fields, how they refer to each other, and what the caller may do."""

from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import Schema, fields

from app.catalog import CATALOG, IMPORTABLE
from app.core.http.access import Actor
from app.core.values import as_json
from app.meta.labels import labels_of_choice, labels_of_field, labels_of_message, labels_of_term, labels_of_titles
from app.resource import Action, Field, Kind, Resource, actions_of, operators_of, searched_fields, sortable

Description = dict[str, Any]

_MEMBER_KINDS: Mapping[type[marshmallow.fields.Field[Any]], Kind] = {
    fields.Integer: Kind.INTEGER,
    fields.Float: Kind.NUMBER,
    fields.Boolean: Kind.BOOLEAN,
}


def describe_resources(actor: Actor) -> list[Description]:
    """What the actor may read, in the order of the catalog."""
    return [describe(resource, actor) for resource in CATALOG.values() if actor.role.covers(resource.read)]


def describe(resource: Resource, actor: Actor) -> Description:
    """A resource as a person sees it."""
    return {
        "name": resource.name,
        "path": resource.path,
        "labels": labels_of_titles(resource.titles),
        "singular": labels_of_titles((resource.titles[0].removesuffix("s"), *resource.titles[1:])),
        "fields": [*(_describe_field(resource, field) for field in resource.fields.values()), *_secrets(resource)],
        "rules": [
            {"kind": rule.kind, "fields": list(rule.fields), "labels": labels_of_message(rule.message)}
            for rule in getattr(resource.model, "checks", ())
            if rule.kind is not None
        ],
        "natural_keys": [list(key) for key in resource.natural_key],
        "searched": [field.name for field in searched_fields(resource)],
        "sortable": sortable(resource),
        "children": _children(resource),
        "actions": [_describe_action(action) for action in actions_of(resource) if action.is_open_to(actor)],
        "may": _may(resource, actor),
    }


def _describe_field(resource: Resource, field: Field) -> Description:
    return {
        "name": field.name,
        "reads_as": field.reads_as,
        "labels": labels_of_field(field),
        "kind": field.kind.value,
        "format": None if field.check is None else field.check.__name__,
        "unit": field.unit,
        "required": field.required and not field.read_only,
        "nullable": field.nullable,
        "read_only": field.read_only,
        "write_only": False,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "length": field.length,
        "default": _default(field),
        "choices": None if field.choices is None else [_describe_choice(choice) for choice in field.choices],
        "reference": _reference(field),
        "members": _members(field),
        "operators": sorted(operators_of(field, field.name, field.kind)),
        "in_natural_key": any(field.name in key for key in resource.natural_key),
    }


def _describe_choice(choice: Any) -> Description:
    return {"value": choice.value, "labels": labels_of_choice(choice)}


def _default(field: Field) -> Any:
    """The value that a form begins with; None where there is none, or where the application sets it."""
    default: Any = field.column.default
    return None if field.read_only or default is None or default.is_callable else as_json(default.arg)


def _reference(field: Field) -> dict[str, str] | None:
    """The resource that a field refers to, and by which of its fields its objects are called."""
    if field.target is None:
        return None
    return {"resource": field.target.__tablename__, "label": field.target.label}


def _members(field: Field) -> list[Description] | None:
    """What each object in a list of objects holds."""
    if field.kind is not Kind.OBJECTS:
        return None
    schema: Schema = field.column.info["members"]()
    return [
        {
            "name": name,
            "labels": labels_of_titles(member.metadata["titles"]),
            "kind": next((kind for type_, kind in _MEMBER_KINDS.items() if isinstance(member, type_)), Kind.TEXT).value,
            "required": member.required,
            "minimum": _of_validators(member, "min"),
            "maximum": _of_validators(member, "max"),
            "choices": _of_validators(member, "choices"),
        }
        for name, member in schema.fields.items()
    ]


def _of_validators(member: marshmallow.fields.Field[Any], name: str) -> Any:
    return next((getattr(one, name) for one in member.validators if getattr(one, name, None) is not None), None)


def _secrets(resource: Resource) -> list[Description]:
    """Members that are written and never read, such as a password; they are in the schema and have no column."""
    schema: Schema = resource.schema()
    nothing = dict.fromkeys(
        ("format", "unit", "minimum", "maximum", "length", "default", "choices", "reference", "members")
    )
    return [
        {
            **nothing,
            "name": name,
            "reads_as": name,
            "labels": labels_of_titles(member.metadata["titles"]),
            "kind": Kind.TEXT.value,
            "required": member.required,
            "nullable": member.allow_none,
            "read_only": False,
            "write_only": True,
            "operators": [],
            "in_natural_key": False,
        }
        for name, member in schema.fields.items()
        if member.load_only
    ]


def _children(resource: Resource) -> list[dict[str, str]]:
    """What refers to objects of the resource, and by which field."""
    return [
        {"resource": other.name, "field": field.name}
        for other in CATALOG.values()
        for field in other.references.values()
        if field.target is resource.model and not field.read_only
    ]


def _describe_action(action: Action) -> Description:
    return {
        "operation": action.operation,
        "method": action.method,
        "path": action.path,
        "summary": action.summary,
        "labels": None if action.title is None else labels_of_term(action.title),
    }


def _may(resource: Resource, actor: Actor) -> Description:
    """What the actor may do; a user changes and deletes what is their own."""
    writes = actor.may_write and actor.role.covers(resource.write)
    return {
        "create": writes,
        "change": ("all" if actor.is_admin else "own") if writes else "none",
        "import": writes and resource.name in IMPORTABLE,
        "export": True,
    }
