"""The schema of a resource, derived from its model: what comes in, what goes out, and its OpenAPI document."""

import copy
import functools
from collections.abc import Mapping
from typing import Any

from flask_marshmallow import Schema as BaseSchema
from flask_marshmallow.sqla import SQLAlchemyAutoSchemaOpts
from marshmallow import RAISE, Schema, ValidationError, fields, validates_schema
from marshmallow_sqlalchemy.schema import SQLAlchemyAutoSchemaMeta

from app.core.db.models import Entity
from app.core.messages import tr
from app.resource.converter import FieldConverter, MarshmallowField, marshmallow_field
from app.resource.fields import Field, Kind, defaults_of, fields_of
from app.resource.json_fields import Attributes

ADD, REMOVE = "__add", "__remove"
"""Suffixes of the fields that change some members of a list: `tags__add`, `tags__remove`."""


READ_ONLY = tr("Is read-only: the application sets it.", rule="read_only")


class OldNewSchema(Schema):
    old = fields.Raw(required=True, allow_none=True)
    new = fields.Raw(required=True, allow_none=True)


def changes_field(description: str = "What changed, by field.", **options: Any) -> MarshmallowField:
    """The field of old and new values by the names of their fields."""
    values = fields.Nested(OldNewSchema)
    return fields.Dict(keys=fields.String(), values=values, metadata={"description": description}, **options)


class DeleteQuerySchema(Schema):
    cascade = fields.Boolean(load_default=False, metadata={"description": "Delete everything under it too."})


@functools.cache
def store_query(model: Any) -> type[Schema]:
    """The query of a write that stores an object: each soft rule of the model may be enforced by its parameter."""
    rules = {
        rule.name: fields.Boolean(load_default=False, metadata={"description": rule.description})
        for rule in getattr(model, "rarely_shared", ())
    }
    return type("StoreQuerySchema", (Schema,), rules)


class RemovedSchema(Schema):
    type = fields.String(required=True)
    id = fields.Integer(required=True)
    name = fields.String(required=True)


class RemovalSchema(Schema):
    """What a deletion would take along; null once it is done."""

    counts = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    objects = fields.List(fields.Nested(RemovedSchema), required=True, metadata={"description": "1000 at most."})


class CanSchema(Schema):
    """What the caller may do with an object; each action by its operationId."""

    class Meta:
        others = fields.Boolean()

    change = fields.Boolean(required=True)
    delete = fields.Boolean(required=True)


class ChildrenSchema(Schema):
    """How many objects of each resource are below an object."""

    class Meta:
        others = fields.Integer()


EXPANSIONS: Mapping[str, MarshmallowField] = {
    "can": fields.Nested(
        CanSchema,
        metadata={"description": "With `with=can`: false where you would be refused; each action by its operationId."},
    ),
    "children": fields.Nested(
        ChildrenSchema,
        metadata={"description": "With `with=children`: how many objects of which resource are below it."},
    ),
}
"""The members of a read object that are there on request."""


class Sent(dict[str, Any]):
    """The loaded values of a change, with the read-only fields that came with them as they were sent.

    Forms send what they read. Whether it is unchanged depends on the object: the errors of all other fields wait in
    `errors` for that, so that every bad field is named at once. `check_sent_back` raises both.
    """

    def __init__(self, values: Mapping[str, Any], read_only: Mapping[str, Any], errors: Any) -> None:
        super().__init__(values)
        self.read_only = read_only
        self.errors = errors


class ResourceSchema(BaseSchema, metaclass=SQLAlchemyAutoSchemaMeta):
    """The base of every resource's schema; a subclass names its model, and declares only what differs.

    Derived as marshmallow-sqlalchemy's SQLAlchemyAutoSchema is, but without its `load`, which reads package metadata
    from disk at each call (330 µs).
    """

    OPTIONS_CLASS = SQLAlchemyAutoSchemaOpts
    error_messages = {"unknown": tr("Unknown field.", rule="unknown")}
    suffix = "Input"
    """What the OpenAPI document adds to the name of the schema of a body."""
    is_body = True
    """Whether it is what a client sends: its document leaves out what is only read."""

    class Meta:
        unknown = RAISE
        model_converter = FieldConverter
        include_fk = True

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def check_rules(self, values: dict[str, Any], sent: Any, *, partial: Any, **_: Any) -> None:
        """Report the rules that a new object breaks together with the fields that are invalid by themselves.

        Those of a changed object depend on what is stored: `save` checks them.
        """
        model = getattr(self.Meta, "model", None)
        rules = getattr(model, "checks", ())
        if partial or not rules or not isinstance(sent, dict):
            return
        invalid = sent.keys() - values.keys()
        whole = {**defaults_of(model), **values}
        broken = [rule.errors(whole) for rule in rules if invalid.isdisjoint(rule.fields)]
        if errors := {name: messages for each in broken for name, messages in each.items()}:
            raise ValidationError(errors)

    def handle_error(self, error: ValidationError, data: Any, *, many: bool, **options: Any) -> None:
        """Say of a field that the application sets that it is one."""
        super().handle_error(error, data, many=many, **options)
        if isinstance(error.messages, dict):
            for name in self.read_only_names() & error.messages.keys():
                error.messages[name] = [READ_ONLY]

    @classmethod
    @functools.cache
    def read_only_names(cls) -> frozenset[str]:
        """The fields of the resource that are read, and that this schema does not take."""
        columns = fields_of(getattr(cls.Meta, "model", None))
        return frozenset({*columns, *(field.reads_as for field in columns.values())} - cls().load_fields.keys())

    @classmethod
    @functools.cache
    def change(cls) -> "type[ResourceSchema]":
        """The schema of the fields that change an object, which loads a `Sent`.

        A list may also be changed by some of its members, and what is read-only may be sent back.
        """
        model_fields = fields_of(getattr(cls.Meta, "model", None))
        lists = {name: field for name, field in model_fields.items() if field.kind is Kind.LIST and not field.read_only}
        members = {name + suffix: _members_field(lists[name], suffix) for name in lists for suffix in (ADD, REMOVE)}

        def check_either(_self: Schema, values: Mapping[str, Any], **_: Any) -> None:
            for name in lists:
                if name in values and not {name + ADD, name + REMOVE}.isdisjoint(values):
                    raise ValidationError(
                        {
                            name: [
                                tr(
                                    "Send either {name}, or {name}{add} and {name}{remove}.",
                                    rule="together",
                                    name=name,
                                    add=ADD,
                                    remove=REMOVE,
                                )
                            ]
                        }
                    )

        return type(cls.__name__, (_Change, cls), {**members, "check_either": validates_schema(check_either)})

    @classmethod
    @functools.cache
    def answer(cls) -> "type[ResourceSchema]":
        """The schema of the object as it is read: every field is there, and none is written only."""
        model_fields = fields_of(getattr(cls.Meta, "model", None))
        own = {*model_fields, *(field.reads_as for field in model_fields.values())}
        members: dict[str, Any] = copy.deepcopy(cls._declared_fields)
        for name, field in members.items():
            field.required = field.required or name in own
            if isinstance(field, Attributes):
                # Only a write may send null, which removes all of them.
                field.allow_none, field.metadata = False, {"title": field.metadata["title"]}
        # Not of what is derived from the schema of a resource: one's own account, the nodes of the tree.
        if ResourceSchema in cls.__bases__ and issubclass(cls.Meta.model, Entity):  # type: ignore[attr-defined]
            members |= EXPANSIONS
        hidden = tuple(name for name, field in members.items() if field.load_only)
        meta = type("Meta", (cls.Meta,), {"exclude": (*getattr(cls.Meta, "exclude", ()), *hidden)})
        return type(cls.__name__, (cls,), {"suffix": "", "is_body": False, "Meta": meta, **members})


class _Change:
    """Mixed into the schema of a change: it sets read-only fields aside."""

    def load(self, data: Any, **options: Any) -> Sent:
        schema: Any = super()
        sent = data if isinstance(data, dict) else {}
        read_only = {name: sent[name] for name in self.read_only_names() & sent.keys()}  # type: ignore[attr-defined]
        if not read_only:
            return Sent(schema.load(data, **options), {}, {})
        try:
            values = schema.load({name: value for name, value in sent.items() if name not in read_only}, **options)
        except ValidationError as error:
            return Sent({}, read_only, error.messages)
        return Sent(values, read_only, {})


def _members_field(field: Field, suffix: str) -> MarshmallowField:
    """The field of the members that a write adds to a list, or removes from it."""
    meanings = {
        ADD: f"Members to add to `{field.name}`, except those that it has already, ignoring case.",
        REMOVE: f"Members to remove from `{field.name}`, ignoring case.",
    }
    members = marshmallow_field(field)
    members.load_only = True
    members.metadata = {**members.metadata, "description": meanings[suffix]}
    return members
