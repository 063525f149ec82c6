"""From the columns of a model to the marshmallow fields of its schema."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa
from marshmallow import RAISE, Schema, fields, validate
from marshmallow_sqlalchemy import ModelConverter

from app.core.db.models import JsonText, Money, Quantity, UtcDateTime
from app.resource import json_fields
from app.resource.fields import Field, Kind, field_of, fields_of

MarshmallowField = fields.Field[Any]


class ReferenceSchema(Schema):
    """A related object as its id and name."""

    id = fields.Integer(required=True)
    name = fields.String(required=True, allow_none=True)


class FieldConverter(ModelConverter):
    """marshmallow-sqlalchemy's converter, with fields that are strict about JSON types and know our declarations.

    The base class decides by the column's type, nullability, default and length; this one adds what `column` and
    `reference` declare (title, range, canonical form, read-only), and what a reference is read as.
    """

    SQLA_TYPE_MAPPING: dict[Any, Any] = {
        sa.Enum: json_fields.Option,
        sa.Integer: json_fields.Integer,
        sa.String: json_fields.Text,
        sa.Boolean: json_fields.Flag,
        sa.Date: json_fields.Day,
        JsonText: fields.Dict,
        Money: json_fields.MoneyText,
        Quantity: json_fields.Number,
        UtcDateTime: json_fields.Moment,
    }

    def fields_for_model(
        self, model: Any, *, base_fields: Mapping[str, MarshmallowField] | None = None, **_: Any
    ) -> dict[str, MarshmallowField]:
        """The fields of a resource by name, in the order of declaration; those in `base_fields` are kept."""
        derived: dict[str, MarshmallowField] = {}
        for field in fields_of(model).values():
            derived[field.name] = self.column2field(field.column)
            if field.target is not None:
                derived[field.reads_as] = fields.Nested(
                    ReferenceSchema, dump_only=True, allow_none=field.nullable, required=True
                )
        return {**derived, **(base_fields or {})}

    def _get_field_class_for_column(self, column: sa.Column[Any]) -> Any:
        field = field_of(column)
        # One column type, JSON, holds three kinds of value.
        match field.kind:
            case Kind.LIST:
                return partial(fields.List, json_fields.Text(length=255))
            case Kind.OBJECTS:
                return partial(fields.List, json_fields.Member(column.info["members"], unknown=RAISE))
            case Kind.ATTRIBUTES:
                return json_fields.Attributes
        return super()._get_field_class_for_column(column)

    def _add_column_kwargs(self, kwargs: dict[str, Any], column: sa.Column[Any]) -> None:
        super()._add_column_kwargs(kwargs, column)
        field = field_of(column)
        kwargs["metadata"]["title"] = field.title
        if field.read_only:
            # A field that is read is in every answer.
            kwargs.update(dump_only=True, required=True)
        match field.kind:
            case Kind.ATTRIBUTES:
                # Null clears all of them; it is never read.
                kwargs["allow_none"] = True
            case Kind.TEXT:
                # `Text` bounds its length itself, after trimming.
                del kwargs["validate"]
                kwargs.update(length=field.length, check=field.check)
            case Kind.MONEY:
                # An amount travels as text, so it has no `places`, and its range is checked as a number.
                del kwargs["places"], kwargs["validate"]
                kwargs.update(minimum=field.minimum, maximum=field.maximum)
            case Kind.INTEGER | Kind.REFERENCE | Kind.NUMBER:
                kwargs["validate"].append(validate.Range(field.minimum, field.maximum))
            case Kind.LIST | Kind.OBJECTS:
                kwargs["validate"].append(validate.Length(max=json_fields.MAX_ITEMS))


def marshmallow_field(field: Field) -> MarshmallowField:
    """The field that parses, validates and documents a value of this kind in JSON."""
    converted: MarshmallowField = FieldConverter().column2field(field.column)
    return converted
