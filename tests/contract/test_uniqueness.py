"""What is to be there once is there once, also where two want it at the same time."""

from collections.abc import Iterator
from functools import partial

import pytest

from app.core.db.rules import unique_rules
from app.resource import Resource
from tests.client import Body, Client
from tests.contract.resources import RESOURCES, all_rows, each_resource
from tests.factories import Make, validation_errors
from tests.spread import spread
from tests.threads import run_concurrently

pytestmark = spread


Rule = tuple[tuple[str, ...], tuple[str, ...]]


def rules(resource: Resource) -> list[Rule]:
    """The fields that are unique together, and those of them whose case does not count."""
    return list(unique_rules(resource.model.__table__))


def alike(resource: Resource, make: Make, stored: Body, rule: Rule) -> Body:
    """Another object that is the same as the stored one in all that the rule names."""
    names, folded = rule
    same = {name: stored[name].swapcase() if name in folded else stored[name] for name in names}
    return make.body(resource, full=True, **same)


def stored_for_each_rule(resource: Resource, make: Make, admin: Client) -> Iterator[tuple[Rule, Body]]:
    for rule in rules(resource):
        body = make.body(resource, full=True)
        yield rule, admin.call("POST", resource.path, json=body, expect=201)["data"]


def test_every_name_is_unique_somewhere() -> None:
    """Except for those of assets: an organisation has forty of one monitor."""
    for resource in RESOURCES:
        names = {"name", "username"} & set(resource.fields)
        is_unique = any(names & set(folded) for _, folded in rules(resource))
        assert not names or is_unique or resource.name == "assets", resource.name


@each_resource
def test_a_second_one_is_refused_and_the_field_named(resource: Resource, make: Make, admin: Client) -> None:
    for rule, stored in stored_for_each_rule(resource, make, admin):
        same = alike(resource, make, stored, rule)
        data = admin.call("POST", resource.path, json=same, expect=409)["data"]
        assert data["reason"] == "taken"
        assert list(data["errors"]) == [rule[0][-1]]


@each_resource
def test_a_change_into_a_second_one_is_refused(resource: Resource, make: Make, admin: Client) -> None:
    for rule, stored in stored_for_each_rule(resource, make, admin):
        names, _ = rule
        same = alike(resource, make, stored, rule)
        fresh = make.body(resource, full=True, **{name: same[name] for name in names[:-1]})
        other = admin.call("POST", resource.path, json=fresh, expect=201)["data"]
        path = f"{resource.path}/{other['id']}"
        data = admin.call("PATCH", path, json={names[-1]: same[names[-1]]}, expect=409)["data"]
        assert list(data["errors"]) == [names[-1]]
        assert admin.call("GET", path)["data"] == other
        # It is not in its own way.
        admin.call("PUT", path, json={name: other[name] for name in names})


@each_resource
def test_what_has_no_value_is_no_second_one(resource: Resource, make: Make, admin: Client) -> None:
    """Except for names: those without a parent share the one that is not there."""
    for names, folded in rules(resource):
        empty = {name: None for name in names if resource.fields[name].nullable}
        if not folded and empty:
            for _ in range(2):
                admin.call("POST", resource.path, json=make.body(resource, full=True, **empty), expect=201)


@each_resource
def test_of_names_without_a_parent_there_is_one_each(resource: Resource, make: Make, admin: Client) -> None:
    for names, folded in rules(resource):
        nobody = {name: None for name in names if name not in folded and resource.fields[name].nullable}
        if not folded or not nobody or validation_errors(resource, {**make.body(resource), **nobody}):
            continue
        stored = admin.call("POST", resource.path, json=make.body(resource, **nobody), expect=201)["data"]
        same = {name: stored[name].upper() for name in folded}
        admin.call("POST", resource.path, json=make.body(resource, **nobody, **same), expect=409)


@each_resource
def test_the_same_name_under_another_parent(resource: Resource, make: Make, admin: Client) -> None:
    for (names, folded), stored in stored_for_each_rule(resource, make, admin):
        parents = [name for name in names if resource.fields[name].target is not None and stored[name] is not None]
        if folded and parents:
            elsewhere = make.body(resource, full=True, **{name: stored[name] for name in folded})
            created = admin.call("POST", resource.path, json=elsewhere, expect=201)["data"]
            assert any(created[name] != stored[name] for name in parents)


@pytest.mark.race
@each_resource
def test_of_ten_at_once_one_is_stored(resource: Resource, make: Make, admin: Client) -> None:
    for names, _ in rules(resource):
        first = make.body(resource, full=True)
        same = {name: first[name] for name in names if name in first}
        bodies = [make.body(resource, full=True, **same) for _ in range(10)]
        before = len(all_rows(resource, admin))
        create = partial(admin.call, "POST", resource.path, expect=(201, 409))
        answers = run_concurrently([partial(create, json=body) for body in bodies])
        assert sorted(answer["code"] for answer in answers) == [0] + [409] * 9
        refused = [answer["data"]["errors"] for answer in answers if answer["code"]]
        assert refused == [{names[-1]: ["Already taken."]}] * 9
        assert len(all_rows(resource, admin)) == before + 1


WIDE = {character: character + 0xFEE0 for character in range(ord("!"), ord("~") + 1)}
"""The full-width form of each printable character of ASCII."""


@each_resource
def test_width_makes_no_second_one(resource: Resource, make: Make, admin: Client) -> None:
    for (names, folded), stored in stored_for_each_rule(resource, make, admin):
        for name in folded:
            if resource.fields[name].check is not None:
                continue
            same = {each: stored[each] for each in names} | {name: stored[name].translate(WIDE)}
            assert same[name] != stored[name]
            data = admin.call("POST", resource.path, json=make.body(resource, full=True, **same), expect=409)["data"]
            assert list(data["errors"]) == [names[-1]]
