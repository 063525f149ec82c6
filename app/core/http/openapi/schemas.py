"""From marshmallow's schemas and fields to those of the OpenAPI document, and their names."""

import enum
import inspect
from typing import Any

import orjson
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema
from marshmallow.fields import Enum, Field


class Converter(OpenAPIConverter):
    """From marshmallow's fields to the document: enumerations have names, and bodies no fields that are only read.

    A default is in the description: as `default`, client generators make it a member that must be sent, or send it
    without being asked.
    """

    def field2property(self, field: Field[Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().field2property(field)
        default = described.pop("default", None)
        if default is not None:
            text = orjson.dumps(default).decode()
            described["description"] = f"{described.get('description', '')} Default: `{text}`.".strip()
        if not isinstance(field, Enum) or not field.by_value:
            return described
        reference = self._share_enumeration(field.enum)
        rest = {name: value for name, value in described.items() if name not in ("type", "enum")}
        return {**({"anyOf": [reference, {"type": "null"}]} if field.allow_none else reference), **rest}

    def _share_enumeration(self, choices: type[enum.Enum]) -> dict[str, str]:
        """The reference to the schema of an enumeration, which has the name of its class."""
        name = choices.__name__
        if name not in self.spec.components.schemas:
            self.spec.components.schema(name, {"type": "string", "enum": [member.value for member in choices]})
        return {"$ref": f"#/components/schemas/{name}"}

    def list2param(self, field: Field[Any], **options: Any) -> dict[str, Any]:
        return super().list2param(field, **options) | ({"explode": False} if hasattr(field, "is_delimited") else {})

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        if hasattr(schema.Meta, "others"):
            described["additionalProperties"] = self.field2property(schema.Meta.others)
        if getattr(schema, "is_body", False):
            read_only = {name for name, member in described["properties"].items() if member.get("readOnly")}
            members = {name: member for name, member in described["properties"].items() if name not in read_only}
            required = [name for name in described.get("required", ()) if name not in read_only]
            described["properties"] = members
            if required:
                described["required"] = required
            else:
                described.pop("required", None)
        return described


class Plugin(MarshmallowPlugin):
    """apispec's plugin with our converter and our names of schemas."""

    Converter = Converter

    def __init__(self) -> None:
        super().__init__(schema_name_resolver=schema_name)


def schema_name(schema: Any) -> str:
    """Name a schema in the document after its class and how it is narrowed."""
    instance: Any = schema() if inspect.isclass(schema) else schema
    name = type(instance).__name__.removesuffix("Schema")
    return name + ("Patch" if instance.partial else getattr(instance, "suffix", ""))
