"""No path means two routes: where a literal segment and a parameter compete, the parameter cannot have its value."""

import re
from itertools import combinations

from flask import Flask
from werkzeug.routing import Rule

from tests.client import Client
from tests.spread import any_database

pytestmark = any_database


def methods_of(rule: Rule) -> set[str]:
    return (rule.methods or set()) - {"HEAD", "OPTIONS"}


def may_be_one(left: str, right: str) -> bool:
    """Whether a segment of a path may be both of these: a literal, a number, a text or an address of the console.

    The console has every address that is no other route's: werkzeug prefers a literal, whatever was registered first.
    """
    if "<page:address>" in (left, right):
        return left == right
    literals = [segment for segment in (left, right) if "<" not in segment]
    if len(literals) == 2:
        return left == right
    parameters = {left, right} - set(literals)
    is_number = any(re.fullmatch(r"<int:[^<>]+>", parameter) for parameter in parameters)
    return not literals or not is_number or literals[0].isdigit()


def test_no_path_means_two_routes(app: Flask) -> None:
    for one, other in combinations(app.url_map.iter_rules(), 2):
        segments = [rule.rule.split("/") for rule in (one, other)]
        if len(segments[0]) == len(segments[1]) and methods_of(one) & methods_of(other):
            assert not all(map(may_be_one, *segments)), (one.rule, other.rule)


def test_a_path_has_one_form(app: Flask) -> None:
    assert [rule.rule for rule in app.url_map.iter_rules() if rule.rule.endswith("/") and rule.rule != "/"] == []


def test_a_path_may_name_the_version(admin: Client) -> None:
    headers = {"Authorization": f"Bearer {admin.token}"}
    client = admin.app.test_client()
    created = client.post("/api/v1/datacenters", json={"name": "a"}, headers=headers)
    assert created.status_code == 201
    for path in ("datacenters", "datacenters/1", "datacenters?name=b", "datacenters/2", "no-such-thing", "health"):
        one, other = (client.get(prefix + path, headers=headers) for prefix in ("/api/", "/api/v1/"))
        assert (one.status_code, one.data, one.headers.get("ETag")) == (
            other.status_code,
            other.data,
            other.headers.get("ETag"),
        ), path
