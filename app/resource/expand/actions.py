"""The actions of a resource: the hand-written writes on one of its objects, as the routes declare them."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import current_app

from app.core.http.access import SAFE_METHODS, Actor, admits
from app.core.messages import Term
from app.resource.declaration import Resource
from app.resource.service import may_change

V = TypeVar("V", bound=Callable[..., Any])

Rule = Callable[[Actor, Any], bool]
"""Whether an action is open to a user on an object, going by the columns of the object alone."""

_GENERATED = re.compile(r"(/bulk|/<int:object_id>)?")


@dataclass(frozen=True, slots=True)
class Action:
    """A method and a path, with `{id}` for the object's id."""

    operation: str
    method: str
    path: str
    summary: str
    view: Any
    rule: Rule
    title: Term | None

    def is_open_to(self, actor: Actor) -> bool:
        """Whether the route lets the user in, whatever the object."""
        return actor.may_write and admits(self.view, actor)


def allowed_if(rule: Rule) -> Callable[[V], V]:
    """Declare the rule of an action that not every user may do who may change the object, or not only they.

    It tells clients what they may do; the action must enforce it itself, on the locked object.
    """

    def decorate(view: V) -> V:
        view.allowed_if = rule  # type: ignore[attr-defined]
        return view

    return decorate


def button(english: str, chinese: str) -> Callable[[V], V]:
    """Declare that an action needs nothing but its object, and what the button for it says."""

    def decorate(view: V) -> V:
        view.title = Term(english, chinese)  # type: ignore[attr-defined]
        return view

    return decorate


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
            path = _template(re.sub("<int:[a-z]+_id>", "{id}", rule.rule, count=1))
            operation = view._apidoc["manual_doc"]["operationId"]
            allowed = getattr(view, "allowed_if", functools.partial(_may_change, resource))
            title = getattr(view, "title", None)
            actions.append(Action(operation, method, path, view.__doc__.split("\n")[0], view, allowed, title))
    return sorted(actions, key=lambda action: (action.path, action.method))


def _may_change(resource: Resource, actor: Actor, target: Any) -> bool:
    return may_change(resource, actor, target.created_by_id)


def _template(rule: str) -> str:
    return re.sub("<(?:int:)?([a-z_]+)>", r"{\1}", rule)
