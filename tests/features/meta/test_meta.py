"""`GET /api/meta`: enough to build every list, form and import without knowing the resources."""

import itertools
import json
import re
from typing import Any

import pytest

from app.catalog import IMPORTABLE
from app.core.http.access import Role
from tests.backends import on_sqlite
from tests.client import Body, Client
from tests.conftest import SignIn
from tests.contract.resources import RESOURCES
from tests.features.conftest import Upload, errors_of

# It is derived from declarations, which are the same whatever the database.
pytestmark = on_sqlite

CHINESE = re.compile("[\u4e00-\u9fff]")
SAME_IN_BOTH = {"ID", "UUID", "API", "TCP", "UDP", "HTTP", "HTTPS", "GRPC"}
NUMBERS = itertools.cycle(range(10, 100))
TEXT_OF_FORMAT = {
    "ip_address": "10.0.0.{}",
    "mac_address": "00:11:22:33:44:{:02}",
    "color": "#336699",
    "email": "ann{}@example.com",
    "username": "ann{}",
    "url_or_path": "/health",
}


def described(client: Client) -> dict[str, Body]:
    resources = client.call("GET", "/api/meta")["data"]["resources"]
    return {resource["name"]: resource for resource in resources}


def value_for(field: Body, client: Client, resources: dict[str, Body]) -> Any:
    """A value of a form's field, from its description alone."""
    match field["kind"]:
        case "choice":
            return field["choices"][-1]["value"]
        case "integer" | "number":
            return max(field["minimum"] or 0, 1)
        case "reference":
            return create(client, resources, field["reference"]["resource"])["id"]
        case "objects":
            return [{member["name"]: value_of_member(member) for member in field["members"]}]
        case "text":
            return TEXT_OF_FORMAT.get(field["format"] or "", "correct horse {}").format(next(NUMBERS))
    return {
        "money": "12.50",
        "boolean": True,
        "date": "2026-01-31",
        "time": "2026-01-31T08:00:00Z",
        "list": ["a"],
        "attributes": {"team": "blue"},
    }[field["kind"]]


def value_of_member(member: Body) -> Any:
    return member["choices"][0] if member["choices"] else member["minimum"]


def filled_in(client: Client, resources: dict[str, Body], name: str, *, only_required: bool) -> Body:
    """The values of a form; where a rule asks for one of several fields, only that one has a value."""
    resource = resources[name]
    ruled = [rule["fields"] for rule in resource["rules"]]
    fields = [field for field in resource["fields"] if not field["read_only"]]
    if only_required:
        needed = {rule["fields"][0] for rule in resource["rules"] if rule["kind"] == "exactly_one"}
        fields = [field for field in fields if field["required"] or field["name"] in needed]
    else:
        left_out = {field for names in ruled for field in names[1:]}
        fields = [field for field in fields if field["name"] not in left_out]
    return {field["name"]: value_for(field, client, resources) for field in fields}


def create(client: Client, resources: dict[str, Body], name: str, *, only_required: bool = True) -> Body:
    """Fill in the form of a resource and send it."""
    body = filled_in(client, resources, name, only_required=only_required)
    created: Body = client.call("POST", resources[name]["path"], expect=201, json=body)["data"]
    assert {key: created[key] for key in body if key in created} == {key: body[key] for key in body if key in created}
    return created


def cell_for(field: Body, value: Any, language: str, client: Client, resources: dict[str, Body]) -> Any:
    """What a person writes into a cell for a value of a form."""
    match field["kind"]:
        case "reference":
            target = resources[field["reference"]["resource"]]
            return client.call("GET", f"{target['path']}/{value}")["data"][field["reference"]["label"]]
        case "choice":
            return next(choice["labels"][language] for choice in field["choices"] if choice["value"] == value)
        case "list":
            return ", ".join(value)
        case "objects":
            return json.dumps(value)
    return value


@pytest.mark.parametrize("name", [resource.name for resource in RESOURCES])
@pytest.mark.parametrize("only_required", [True, False], ids=["required", "everything"])
def test_a_form_built_from_it_creates_an_object(name: str, only_required: bool, admin: Client) -> None:
    create(admin, described(admin), name, only_required=only_required)


def test_a_list_built_from_it_is_understood(admin: Client) -> None:
    for resource in described(admin).values():
        for column in resource["sortable"]:
            admin.call("GET", resource["path"], query_string={"sort": f"-{column}", "fields": "id"})
        for field in resource["fields"]:
            for operator in field["operators"]:
                name = f"{field['name']}__{operator}" if operator else field["name"]
                answer = admin.call("GET", resource["path"], query_string={name: "§"}, expect=(200, 400))
                assert answer["code"] == 0 or answer["data"]["reason"] == "invalid_parameter", name


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("only_required", [True, False], ids=["required", "everything"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sheet_built_from_it_is_imported(
    language: str, only_required: bool, name: str, admin: Client, upload: Upload
) -> None:
    resources = described(admin)
    resource = resources[name]
    assert resource["may"]["import"]
    values = filled_in(admin, resources, name, only_required=only_required)
    before = {item["id"] for item in admin.call("GET", resource["path"])["data"]}
    own = values.pop("attributes", {})
    by_name = {field["name"]: field for field in resource["fields"]}
    titles = [*(by_name[each]["labels"][language] for each in values), *own]
    cells = [cell_for(by_name[each], value, language, admin, resources) for each, value in values.items()]
    sheets = {resource["labels"][language]: [titles, [*cells, *own.values()]]}
    import_ = upload(admin, form={"apply": "true"}, **sheets)
    assert import_["status"] == "applied", (import_["problem"], errors_of(admin, import_))
    (stored,) = (item for item in admin.call("GET", resource["path"])["data"] if item["id"] not in before)
    assert {each: stored[each] for each in values} == values
    assert stored.get("attributes", {}) == own


def test_every_label_is_there_in_both_languages(admin: Client) -> None:
    for resource in described(admin).values():
        assert CHINESE.search(resource["labels"]["zh"]), resource["name"]
        assert f"{resource['singular']['en']}s" == resource["labels"]["en"]
        for field in resource["fields"]:
            for each in (field, *(field["choices"] or ())):
                labels = each["labels"]
                assert labels["en"].isascii(), labels
                assert labels["zh"] in SAME_IN_BOTH or CHINESE.search(labels["zh"]), (field["name"], labels)


def test_the_words_of_the_audit_log_have_labels(admin: Client) -> None:
    described = admin.call("GET", "/api/meta")["data"]
    assert {"value": "imports", "labels": {"en": "Imports", "zh": "导入"}} in described["audit_events"]
    actions = described["audit_actions"]
    assert {"value": "login_failed", "labels": {"en": "Sign-in failed", "zh": "登录失败"}} in actions
    recorded = {record["action"] for record in admin.call("GET", "/api/audit-logs")["data"]}
    assert recorded <= {action["value"] for action in actions}


def test_it_says_what_the_caller_may_do(admin: Client, user: Client) -> None:
    assert described(admin)["datacenters"]["may"] == {"create": True, "change": "all", "import": True, "export": True}
    own = described(user)
    assert own["datacenters"]["may"] == {"create": False, "change": "none", "import": False, "export": True}
    assert own["servers"]["may"] == {"create": True, "change": "own", "import": True, "export": True}
    assert "users" not in own
    assert not described(admin)["users"]["may"]["import"]


def test_a_token_that_may_only_read_may_do_nothing(sign_in: SignIn) -> None:
    admin = sign_in(role=Role.ADMIN)
    token = admin.call("POST", "/api/auth/tokens", expect=201, json={"name": "script", "scopes": ["read"]})["data"]
    servers = described(Client(admin.app, admin.document, token["token"]))["servers"]
    assert (servers["may"]["create"], servers["may"]["change"], servers["actions"]) == (False, "none", [])


def test_actions_and_relations_follow_from_routes_and_references(admin: Client) -> None:
    resources = described(admin)
    assert {
        "operation": "assignGpu",
        "method": "POST",
        "path": "/api/gpus/{id}/assign",
        "summary": "Assign a GPU to a user.",
        "labels": None,
    } in resources["gpus"]["actions"]
    assert {action["operation"]: action["labels"] for action in resources["gpus"]["actions"]}["releaseGpu"] == {
        "en": "Release",
        "zh": "释放",
    }
    assert resources["environments"]["actions"] == []
    assert {"resource": "gpus", "field": "server_id"} in resources["servers"]["children"]
    reference = next(field["reference"] for field in resources["gpus"]["fields"] if field["name"] == "server_id")
    assert reference == {"resource": "servers", "label": "name"}


def test_it_is_sent_again_only_when_it_has_changed(admin: Client, user: Client) -> None:
    seen = {"If-None-Match": admin.send("GET", "/api/meta").headers["ETag"]}
    assert admin.send("GET", "/api/meta", expect=304, headers=seen).data == b""
    # Another caller may do other things.
    user.send("GET", "/api/meta", headers=seen)
