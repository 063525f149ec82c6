"""Which objects `q` and the search find: those that hold all words, in any order and field, in any spelling."""

from typing import Any

import pytest

from app.assets.models import Asset, AssetType
from app.containers.models import Container
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.gpus.models import Gpu
from app.resource import Resource
from app.resource.query.searched_fields import searched_fields
from app.servers.models import Server
from app.services.models import Service, ServiceType
from app.tasks.models import Task
from app.users.models import User
from tests.client import Client
from tests.contract.resources import RESOURCES, each_resource, value_in
from tests.factories import Make

SERVER: dict[str, Any] = {
    "name": "node-17",
    "manufacturer": "Dell",
    "model": "PowerEdge R740",
    "rack": "R12",
    "os": "Ubuntu 22.04",
    "internal_ip": "10.77.0.9",
    "external_ip": "2001:db8::77",
    "management_ip": "172.16.4.4",
    "mac_address": "00:1b:44:11:3a:b7",
    "tags": ["edge", "gold member"],
    "cpu_model": "Xeon 6338",
    "description": "上海机房的主服务器 (backup)",
    "attributes": {"Cost centre": "CC77", "vendor ticket": 4711},
}


def result_ids(client: Client, text: str, resource: str = "servers") -> list[int]:
    """The ids that `q` finds; the search must find the same, and count them."""
    listed = client.call("GET", f"/api/{resource}", query_string={"q": text, "page_size": 100, "sort": "id"})
    ids = [row["id"] for row in listed["data"]]
    assert listed["pagination"]["total"] == len(ids)
    data = client.call("GET", "/api/search", query_string={"q": text, "limit": 100, "types": resource})["data"]
    if ids:
        assert sorted(hit["id"] for hit in data["hits"]) == ids
        assert data["counts"] == {resource: len(ids)}
    return ids


@pytest.mark.parametrize(
    "text",
    [
        "dell r740", "R740 DELL", "r12 ubuntu", "gold edge", "上海 服务器", "服务器 上海", "机房 dell", "上 主",
        "10.77.0.9", "2001:DB8:0::0077", "::ffff:10.77.0.9", "172.16.4", "001b.4411.3ab7", "00-1B-44-11-3A-B7",
        "001B44113AB7", "44-11-3a", "cc77 node", "4711", "(backup)", "dell dell", "ＤＥＬＬ r740", "6338 22.04",
    ],
)  # fmt: skip
def test_all_words_in_any_order_field_and_spelling(make: Make, user: Client, text: str) -> None:
    server = make(Server, **SERVER)
    make(Server, name="node-18", manufacturer="HPE", model="DL380", internal_ip="10.78.0.1")
    assert result_ids(user, text) == [server.id]


@pytest.mark.parametrize("text", ["dell dl380", "r740 hpe", "cost", "dell r741x", "上海 北京", "海上"])
def test_a_word_that_is_nowhere_in_the_object(make: Make, user: Client, text: str) -> None:
    make(Server, **SERVER)
    make(Server, name="node-18", manufacturer="HPE", model="DL380", description="北京")
    listed = user.call("GET", "/api/servers", query_string={"q": text})
    assert listed["data"] == []


def test_fields_of_every_resource(make: Make, admin: Client) -> None:
    place = make(Datacenter, name="Lyon", code="LY-9", location="Rue Merle", description="cold aisle")
    environment = make(Environment, name="lab", description="experiments", color="#12ab34")
    server = make(Server, name="s")
    ports = [{"host_port": 8443, "container_port": 443, "protocol": "tcp"}]
    container = make(Container, name="c", server_id=server.id, image="nginx:1.25", port_mappings=ports)
    service = make(Service, name="v", server_id=server.id, port=5432, service_type=ServiceType.DATABASE,
                   health_check="/live")  # fmt: skip
    gpu = make(Gpu, server_id=server.id, model="NVIDIA A100-SXM4-80GB", description="noisy fan")
    make(Gpu, server_id=server.id, model="NVIDIA H100 80GB")
    asset = make(Asset, name="screen", asset_type=AssetType.MONITOR, manufacturer="Eizo", description="scratched")
    user = make(User, username="mei", full_name="Mei Lin", phone="+86 21 5555", last_login_ip="10.9.8.7")
    for text, resource, one in (
        ("merle ly-9", "datacenters", place),
        ("aisle lyon", "datacenters", place),
        ("experiments #12AB34", "environments", environment),
        ("8443 nginx", "containers", container),
        ("5432 database", "services", service),
        ("live v", "services", service),
        ("a100 80gb", "gpus", gpu),
        ("fan a100", "gpus", gpu),
        ("monitor eizo scratched", "assets", asset),
        ("lin mei", "users", user),
        ("5555 10.9.8.7", "users", user),
    ):
        assert result_ids(admin, text, resource) == [one.id], text


def test_tasks_in_any_order_and_only_ones_own(make: Make, admin: Client, user: Client, other: Client) -> None:
    task = make(Task, title="Replace the fan", description="in node-17", created_by_id=user.user.id)
    for text in ("fan replace", "17 fan", "replace"):
        assert result_ids(user, text, "tasks") == result_ids(admin, text, "tasks") == [task.id]
        assert result_ids(other, text, "tasks") == []
    for text in ("fan replaec", "fan ndoe-17"):
        assert [hit["id"] for hit in _search(user, text)["hits"]] == [task.id]
        assert _search(other, text)["hits"] == []
        assert set(_search(other, text)["counts"].values()) == {0}


def _search(client: Client, text: str) -> Any:
    return client.call("GET", "/api/search", query_string={"q": text})["data"]


@pytest.mark.parametrize(
    "text",
    ["dlel r740", "dell r741", "dell r470", "poweredge delll", "powreedge", "ubutnu", "ubuntu pwoeredge", "godl edge",
     "主服务其", "xeon 6383"],
)  # fmt: skip
def test_a_typo_in_a_word_is_forgiven(make: Make, user: Client, text: str) -> None:
    server = make(Server, **SERVER)
    make(Server, name="node-18", manufacturer="HPE", model="DL380", os="Debian")
    answer = _search(user, text)
    assert [(hit["id"], hit["score"] <= 0.5) for hit in answer["hits"]] == [(server.id, True)]
    assert {kind: count for kind, count in answer["counts"].items() if count} == {"servers": 1}


def test_what_was_typed_stands_before_what_it_could_mean(make: Make, user: Client) -> None:
    make(Server, name="train")
    exact = make(Server, name="trian")
    assert [hit["id"] for hit in _search(user, "trian")["hits"]] == [exact.id]


def test_fields_of_more_weight_rank_higher(make: Make, user: Client) -> None:
    in_text = make(Server, name="a", description="replaces omega")
    in_model = make(Server, name="b", model="omega")
    apart = make(Server, name="omega-1", rack="seven")
    assert [hit["id"] for hit in _search(user, "omega")["hits"]] == [apart.id, in_model.id, in_text.id]
    together = make(Server, name="omega seven")
    answer = _search(user, "omega seven")
    assert [hit["id"] for hit in answer["hits"]] == [together.id, apart.id]
    assert [hit["match"] for hit in answer["hits"]] == [
        {"field": "name", "value": "omega seven"},
        {"field": "name", "value": "omega-1"},
    ]


@each_resource
def test_every_text_that_can_be_set_is_searched(resource: Resource, make: Make, admin: Client) -> None:
    item = make.varied(resource.model, 1)
    row = admin.call("GET", f"{resource.path}/{item.id}")["data"]
    searched = {field.name for field in searched_fields(resource)}
    for name, field in resource.fields.items():
        value = value_in(row, name, field)
        if isinstance(value, str) and not field.read_only and name in searched:
            ids = [one["id"] for one in admin.call("GET", resource.path, query_string={"q": value[:200]})["data"]]
            assert item.id in ids, name
    left_out = {
        (each.name, name)
        for each in RESOURCES
        for name, field in each.fields.items()
        if field.kind.value in ("text", "list", "objects", "attributes")
        and name not in {one.name for one in searched_fields(each)}
    }
    assert left_out == {("assets", "image_url"), ("assets", "description_problem")}
