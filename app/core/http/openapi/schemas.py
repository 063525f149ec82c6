"""From marshmallow's schemas and fields to those of the OpenAPI document, and their names."""

import inspect
from collections.abc import Iterable
from typing import Any

import orjson
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema
from marshmallow.fields import Dict, Enum, Field, Raw

# Not recursive: neither openapi-typescript nor openapi-python-client can write a recursive type.
_VALUE: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {"type": "array", "items": {}},
        {"type": "object", "additionalProperties": {}},
    ],
    "description": "Any value of JSON, such as the value of a field of any kind.",
}


class Converter(OpenAPIConverter):
    """From marshmallow's fields to the document: enumerations have names, and bodies no fields that are only read.

    The metadata of a field may have `enumeration`, the name of the schema that its `enum` becomes, and `component`, the
    name of a schema that is shared elsewhere. A default is in the description: as `default`, client generators make it
    a member that must be sent, or send it without being asked.
    """

    def field2property(self, field: Field[Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().field2property(field)
        default = described.pop("default", None)
        if default is not None:
            text = orjson.dumps(default).decode()
            described["description"] = f"{described.get('description', '')} Default: `{text}`.".strip()
        component = field.metadata.get("component")
        if component is not None:
            siblings = {name: described[name] for name in ("description",) if name in described}
            return {"$ref": f"#/components/schemas/{component}", **siblings}
        if isinstance(field, Dict) and not described["additionalProperties"]:
            described["additionalProperties"] = getattr(field, "described_values", None) or self._share_value()
        if type(field) is Raw and described.keys() <= {"description"}:
            return {**self._share_value(), **described}
        if isinstance(field, Enum) and field.by_value:
            reference = self._share_enumeration(field.enum.__name__, [member.value for member in field.enum])
        elif "enumeration" in field.metadata:
            reference = self._share_enumeration(field.metadata["enumeration"], described["enum"])
        else:
            return described
        rest = {name: value for name, value in described.items() if name not in ("type", "enum", "$ref", "anyOf")}
        return {**({"anyOf": [reference, {"type": "null"}]} if field.allow_none else reference), **rest}

    def _share_enumeration(self, name: str, values: Iterable[Any]) -> dict[str, str]:
        """The reference to the schema of an enumeration."""
        return self._share(name, {"type": "string", "enum": list(values)})

    def _share_value(self) -> dict[str, str]:
        return self._share("Value", _VALUE)

    def _share(self, name: str, schema: dict[str, Any]) -> dict[str, str]:
        if name not in self.spec.components.schemas:
            self.spec.components.schema(name, schema)
        assert self.spec.components.schemas[name] == schema, f"There are two schemas called {name}."
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
