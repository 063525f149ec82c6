"""The actions of a resource: the hand-written writes on one of its objects, as the routes declare them."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from flask import current_app

from app.core.http.access import SAFE_METHODS, Access, Actor, Role, access_of
from app.resource import Resource

_GENERATED = re.compile(r"(/bulk|/<int:object_id>)?")


@dataclass(frozen=True, slots=True)
class Action:
    """A method and a path, with `{id}` for the object's id."""

    operation: str
    method: str
    path: str
    summary: str
    access: Access

    def is_open_to(self, actor: Actor) -> bool:
        return actor.may_write and isinstance(self.access, Role) and actor.role.covers(self.access)

    def as_dict(self) -> dict[str, Any]:
        members = asdict(self)
        del members["access"]
        return members


def actions_of(resource: Resource) -> list[Action]:
    """Every write on an object of the resource beyond change and delete; collected once per application."""
    collected: dict[str, list[Action]] = current_app.extensions.setdefault("actions", {})
    if resource.name not in collected:
        collected[resource.name] = _collect(resource)
    return collected[resource.name]


def _collect(resource: Resource) -> list[Action]:
    actions = []
    for rule in current_app.url_map.iter_rules():
        below = rule.rule.removeprefix(resource.path)
        if below == rule.rule or _GENERATED.fullmatch(below) or not below.startswith("/<int:"):
            continue
        view: Any = current_app.view_functions[rule.endpoint]
        for method in sorted((rule.methods or set()) - SAFE_METHODS):
            path = re.sub("<int:[a-z]+_id>", "{id}", rule.rule, count=1)
            operation = view._apidoc["manual_doc"]["operationId"]
            summary = view.__doc__.split("\n")[0]
            actions.append(Action(operation, method, _template(path), summary, access_of(view) or "public"))
    return sorted(actions, key=lambda action: (action.path, action.method))


def _template(rule: str) -> str:
    return re.sub("<(?:int:)?([a-z_]+)>", r"{\1}", rule)
