"""`GET /api/search`: ranking, typos, counts, and objects that the caller may not read."""

from typing import Any

import pytest

from app.assets.models import Asset
from app.containers.models import Container
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.search import service
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import Body, Client
from tests.conftest import Statements
from tests.factories import Make


def search(client: Client, text: str, **query: Any) -> Body:
    data: Body = client.call("GET", "/api/search", query_string={"q": text, **query})["data"]
    return data


def hits_of(client: Client, text: str, **query: Any) -> list[tuple[str, str]]:
    return [(hit["type"], hit["title"]) for hit in search(client, text, **query)["hits"]]


def test_an_exact_name_ranks_first(make: Make, user: Client) -> None:
    for name in ("a-train-01", "train-011", "train-01"):
        make(Server, name=name)
    make(Server, name="other", hostname="train-01.example.net")
    assert hits_of(user, "Train-01") == [
        ("servers", "train-01"),
        ("servers", "train-011"),
        ("servers", "other"),
        ("servers", "a-train-01"),
    ]
    scores = [hit["score"] for hit in search(user, "train-01")["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1


def test_everything_is_searched_at_once(make: Make, user: Client) -> None:
    place = make(Datacenter, name="omega")
    server = make(Server, name="omega-1", datacenter_id=place.id)
    make(Container, name="omega-pod", server_id=server.id)
    make(Gpu, model="X", serial_number="SN-OMEGA", server_id=server.id)
    make(Asset, name="switch", attributes={"room": "Omega 7"})
    answer = search(user, "omega")
    hits = {hit["type"]: hit for hit in answer["hits"]}
    assert set(hits) == {"datacenters", "servers", "containers", "gpus", "assets"}
    counts = {kind: number for kind, number in answer["counts"].items() if number}
    assert counts == dict.fromkeys(hits, 1)
    assert hits["gpus"]["match"] == {"field": "serial_number", "value": "SN-OMEGA"}
    assert hits["assets"]["match"] == {"field": "attributes.room", "value": "Omega 7"}
    assert hits["containers"]["subtitle"] == "omega-1"
    assert {hit["type"] for hit in search(user, "omega", types="gpus,assets")["hits"]} == {"gpus", "assets"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train-03", "trian-03"),
        ("train-03", "tran-03"),
        ("train-03", "train-o3"),
        ("shanghai-west", "shangai-west"),
        ("shanghai-west", "shanghai-wset"),
        ("数据中心服务器一号", "数据中心服务器二号"),
    ],
)
def test_typos_are_forgiven(make: Make, user: Client, name: str, text: str) -> None:
    make(Server, name=name)
    make(Server, name="entirely different")
    answer = search(user, text)
    assert [hit["title"] for hit in answer["hits"]] == [name]
    assert answer["hits"][0]["score"] <= 0.5
    assert {kind: count for kind, count in answer["counts"].items() if count} == {"servers": 1}


def test_dissimilar_names_are_not_found(make: Make, user: Client) -> None:
    make(Server, name="train-03")
    assert hits_of(user, "zebra") == []
    assert hits_of(user, "xq") == []


@pytest.mark.parametrize(
    "text",
    [
        'say "no"', "back\\slash", "100%", "under_score", "it's", "new\nline", "tab\there", "%(x)s", ":name", "{}", "é",
        "中文",
        "<b>", "a|b", "'; DROP TABLE servers; --", "\\' OR 1=1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["name", "attribute"])
def test_every_character_is_matched_literally(make: Make, user: Client, text: str, where: str) -> None:
    """Also characters with a meaning in patterns, SQL or JSON, and in lists with `q` as well."""
    marked = f"x {text} y"
    fields = {"name": marked} if where == "name" else {"attributes": {"note": marked}}
    server = make(Server, **fields)
    make(Server, name="x  y", attributes={"note": "x z y"})
    assert [hit["id"] for hit in search(user, text)["hits"]] == [server.id]
    listed = user.call("GET", "/api/servers", query_string={"q": text})
    assert [row["id"] for row in listed["data"]] == [server.id]
    assert listed["pagination"]["total"] == 1


def test_the_name_of_an_attribute_is_not_its_value(make: Make, user: Client) -> None:
    make(Server, attributes={"warranty": "none"})
    assert hits_of(user, "warranty") == []


def test_private_objects_are_not_found_by_others(make: Make, admin: Client, user: Client, other: Client) -> None:
    make(Task, title="replace the fan", created_by_id=user.user.id)
    for text in ("replace the fan", "replaec the fan"):
        assert hits_of(user, text) == hits_of(admin, text) == [("tasks", "replace the fan")]
        assert hits_of(other, text) == []
    assert search(other, "fan")["counts"]["tasks"] == 0


def test_users_are_found_by_administrators_only(admin: Client, user: Client) -> None:
    assert ("users", user.user.username) in hits_of(admin, user.user.username)
    assert "users" not in search(user, user.user.username)["counts"]
    user.call("GET", "/api/search?q=x&types=users", expect=400)


def test_counting_ends_at_a_maximum_and_an_exact_name_is_a_hit_all_the_same(
    make: Make, user: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_COUNT", 3)
    for number in range(5):
        make(Server, name=f"not pod-{number}")
    make(Server, name="pod")
    answer = search(user, "pod", limit=2)
    assert answer["counts"]["servers"] == 3
    assert [hit["title"] for hit in answer["hits"]] == ["pod", "not pod-0"]


@pytest.mark.parametrize("text", ["trai", "trian"])
def test_the_number_of_statements_is_constant(make: Make, user: Client, statements: Statements, text: str) -> None:
    def count() -> int:
        with statements() as sent:
            search(user, text)
        return len(sent)

    server = make(Server, name="train-0")
    make(Gpu, model="train 0", server_id=server.id)
    few = count()
    for number in range(1, 10):
        make(Server, name=f"train-{number}")
        make(Gpu, model=f"train {number}", server_id=server.id)
    assert count() == few


@pytest.mark.parametrize(
    "query", ["q=", "q=%20", "", "q=a&types=nonsense", "q=a&types=,", "q=a&limit=0", "q=a%00b", "q=" + "a" * 201]
)
def test_invalid_queries_are_refused(user: Client, query: str) -> None:
    user.call("GET", f"/api/search?{query}", expect=400)
