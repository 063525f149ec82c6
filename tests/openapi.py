"""Checks requests and responses against the application's own OpenAPI document."""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from flask import Flask
from jsonschema_rs import Draft202012, Draft202012Validator, Registry
from werkzeug.exceptions import HTTPException

from app.core.http.application import ALWAYS

DOCUMENT = "urn:openapi"
FAILURE = "#/components/schemas/Failure"
JSON = "application/json"
_OF_SERVER = ("Connection", "Content-Length", "Content-Type", "Date", "Server", "Transfer-Encoding")
OF_HTTP = {name.title() for name in (*ALWAYS, *_OF_SERVER, "Strict-Transport-Security")}
"""Headers that the document leaves out: those of HTTP and CORS, and those of a policy that every answer has."""
ANYTHING = "*/*"
"""The media types of the answer of an operation that sends the file of any other."""


class Operation(NamedTuple):
    """A method of a path, as in the document: `/api/gpus/{object_id}`, `get`."""

    path: str
    method: str


def operation_at(app: Flask, path: str, method: str) -> Operation | None:
    """The operation that a request is routed to, or None."""
    try:
        rule, _ = app.url_map.bind("").match(path, method, return_rule=True)
    except HTTPException:
        return None
    method = "GET" if method == "HEAD" else method
    return Operation(template_of(rule.rule), method.lower())


def template_of(rule: str) -> str:
    """`/api/gpus/<int:object_id>` as OpenAPI writes it: `/api/gpus/{object_id}`."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule)


class Document:
    """An OpenAPI 3.1 document, whose schemas are those of JSON Schema 2020-12."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self._answers = _without(spec, "writeOnly")
        self._answers_in_part = _without_required(self._answers)
        self._requests = _without(spec, "readOnly")
        self._validators: dict[tuple[Any, ...], Draft202012Validator] = {}
        self._registries: dict[int, Registry] = {}

    @cached_property
    def operations(self) -> dict[Operation, Mapping[str, Any]]:
        return {
            Operation(path, method): operation
            for path, operations in self.spec["paths"].items()
            for method, operation in operations.items()
            if method != "parameters"
        }

    def check_answer(
        self,
        operation: Operation | None,
        status: int,
        mimetype: str,
        body: Any,
        *,
        headers: Iterable[str] = (),
        in_part: bool = False,
    ) -> None:
        """Assert that the document allows this response; `in_part`: to a request for some fields only."""
        if operation is None:
            # No such path or method: an error of the framework.
            assert status in (404, 405), status
            self._validate(self._answers, {"$ref": FAILURE}, body, (FAILURE,))
            return
        response = self._response(operation, status)
        assert response is not None, f"{operation} does not document the status {status}: {body}"
        undeclared = {name.title() for name in headers} - {name.title() for name in response.get("headers", ())}
        undeclared = {name for name in undeclared - OF_HTTP if not name.startswith("Access-Control-")}
        assert not undeclared, f"{operation} does not document headers of a {status}: {sorted(undeclared)}"
        if status == 304:
            assert "content" not in response
            return
        documented = response.get("content", {})
        assert mimetype in documented or ANYTHING in documented, f"{operation} does not document {mimetype}."
        if mimetype != JSON or JSON not in documented:
            return
        schema = response["content"][JSON]["schema"]
        spec = self._answers_in_part if in_part and status < 400 else self._answers
        self._validate(spec, schema, body, (operation, status, in_part))

    def check_request(self, operation: Operation, parameters: list[str], body: Any) -> None:
        """Assert that the document allows a request that the application has accepted."""
        documented = self.operations[operation]
        names = self.query_parameters(operation)
        free = {parameter["name"] for parameter in map(self.resolve, documented.get("parameters", ()))}
        for name in parameters:
            is_free = name.startswith("attributes.") or ("." in name and "related" in free)
            assert name in names or is_free, f"{operation} does not document {name}."
        if body is not None:
            schema = documented["requestBody"]["content"][JSON]["schema"]
            self._validate(self._requests, schema, _trimmed(body), (operation, "request"))

    def query_parameters(self, operation: Operation) -> set[str]:
        """The names of an operation's query parameters, of an object of filters those of its members."""
        names: set[str] = set()
        for parameter in map(self.resolve, self.operations[operation].get("parameters", ())):
            if parameter["in"] != "query":
                continue
            schema = self.resolve(parameter["schema"])
            if parameter.get("explode") and schema.get("type") != "array":
                names.update(schema.get("properties", ()))
            else:
                names.add(parameter["name"])
        return names

    def is_any_file(self, operation: Operation, status: int) -> bool:
        """Whether an answer may be a file of any type, also one of JSON that is no envelope."""
        return ANYTHING in (self._response(operation, status) or {}).get("content", {})

    def required_members(self, operation: Operation) -> set[str]:
        """The names of the members that each body of a request has."""
        contents = self.operations[operation].get("requestBody", {}).get("content", {}).values()
        return {name for content in contents for name in self.resolve(content["schema"]).get("required", ())}

    def _response(self, operation: Operation, status: int) -> Mapping[str, Any] | None:
        response = self._answers["paths"][operation.path][operation.method]["responses"].get(str(status))
        return None if response is None else self._resolve(self._answers, response)

    def resolve(self, item: Mapping[str, Any]) -> Any:
        """The item itself, or the target of its `$ref`."""
        return self._resolve(self.spec, item)

    @staticmethod
    def _resolve(spec: Mapping[str, Any], item: Mapping[str, Any]) -> Any:
        if "$ref" not in item:
            return item
        target: Any = spec
        for part in item["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        return target

    def _validate(self, spec: Mapping[str, Any], schema: Mapping[str, Any], body: Any, key: tuple[Any, ...]) -> None:
        if key not in self._validators:
            if id(spec) not in self._registries:
                self._registries[id(spec)] = Registry([(DOCUMENT, spec)], draft=Draft202012)
            registry = self._registries[id(spec)]
            self._validators[key] = Draft202012Validator(
                _absolute(schema, DOCUMENT), registry=registry, validate_formats=True
            )
        errors = [f"{error.instance_path}: {error.message}" for error in self._validators[key].iter_errors(body)]
        assert not errors, f"{key} is not as documented: {errors}"


def _absolute(schema: Any, name: str) -> Any:
    """The schema with its `$ref`s made absolute, so that they point into the document."""
    if isinstance(schema, dict):
        return {key: name + value if key == "$ref" else _absolute(value, name) for key, value in schema.items()}
    return [_absolute(item, name) for item in schema] if isinstance(schema, list) else schema


def _trimmed(body: Any) -> Any:
    """The body as the application reads it: texts are trimmed, and empty ones are null."""
    if isinstance(body, dict):
        return {name: _trimmed(value) for name, value in body.items()}
    if isinstance(body, list):
        return [_trimmed(item) for item in body]
    return (body.strip() or None) if isinstance(body, str) else body


def _without_required(spec: Any) -> Any:
    """The document where no property must be there: what `fields` leaves out is not in the answer."""
    if isinstance(spec, list):
        return [_without_required(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    return {
        key: _without_required(value)
        for key, value in spec.items()
        if not (key == "required" and isinstance(value, list))
    }


def _without(spec: Any, mark: str) -> Any:
    """The document without the properties that carry the mark `readOnly` or `writeOnly`.

    Requests have no read-only fields; responses no write-only ones, such as a password.
    """
    if isinstance(spec, list):
        return [_without(item, mark) for item in spec]
    if not isinstance(spec, dict):
        return spec
    remaining = {key: _without(value, mark) for key, value in spec.items()}
    properties = remaining.get("properties")
    if isinstance(properties, dict):
        dropped = {name for name, schema in properties.items() if schema.get(mark) is True}
        remaining["properties"] = {name: schema for name, schema in properties.items() if name not in dropped}
        if "required" in remaining:
            remaining["required"] = [name for name in remaining["required"] if name not in dropped]
    return remaining
