"""What the answers of a run have told: the paths of objects that exist, and what signs in again."""

import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import orjson

from tests.openapi import Document, Operation

KEPT = 30
"""The newest paths of each kind."""
_PARAMETER = re.compile(r"\{[^{}]+\}")
_URL = re.compile(r"/api/[\w/.~-]+")


class Known:
    """The paths of objects, by the template of an operation up to its last parameter; and what signs in."""

    def __init__(self, document: Document) -> None:
        self._paths: dict[str, dict[str, None]] = {}
        self._templates = [
            (key, re.compile(_PARAMETER.sub("[^/]+", operation.path)))
            for operation in document.operations
            if (key := _key(operation.path)).endswith("{}")
        ]
        self._fixed = {operation.path for operation in document.operations if "{" not in operation.path}
        self.refresh_token = ""
        self.username = ""
        """Of somebody who signed in with PASSWORD."""

    def learn(self, operation: Operation, target: str, body: bytes) -> None:
        """Take from the answer of a request that succeeded what later requests can be about."""
        path = target.partition("?")[0]
        if operation.method == "delete":
            self._paths.get(_key(operation.path), {}).pop(path, None)
        try:
            data = orjson.loads(body).get("data")
        except (orjson.JSONDecodeError, AttributeError):
            return
        for item in data if isinstance(data, list) else [data]:
            if isinstance(item, dict) and isinstance(item.get("id"), int | str) and operation.method in ("get", "post"):
                self._keep(f"{_key(operation.path)}/{{}}", f"{path}/{item['id']}")
        if isinstance(data, dict):
            self.refresh_token = data.get("refresh_token") or self.refresh_token
        for text in _texts(data):
            # The template of an object's path matches `/api/users/bulk` too.
            for url in set(_URL.findall(text)) - self._fixed:
                for key, template in self._templates:
                    if template.fullmatch(url):
                        self._keep(key, url)

    def _keep(self, key: str, path: str) -> None:
        paths = self._paths.setdefault(key, {})
        paths.pop(path, None)
        paths[path] = None
        if len(paths) > KEPT:
            del paths[next(iter(paths))]

    def path(self, template: str, chance: Random) -> str:
        """The template with the path of an object that exists for its first parameters, as many as are known."""
        parts = template.split("/")
        for end in range(len(parts), 0, -1):
            paths = self._paths.get(_key("/".join(parts[:end])))
            if paths:
                return "/".join((chance.choice(list(paths)), *parts[end:]))
        return template

    def id_of(self, collection: str, chance: Random) -> int | None:
        """The id of an object of a collection such as `servers`; None where none is known."""
        paths = self._paths.get(f"/api/{collection}/{{}}")
        number = chance.choice(list(paths)).rpartition("/")[2] if paths else ""
        return int(number) if number.isdecimal() else None


def _key(template: str) -> str:
    return _PARAMETER.sub("{}", template)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
