"""Usernames: one that could be read as another is refused."""

import string
import unicodedata

import pytest
from confusable_homoglyphs.confusables import confusables_data

from app.resource import formats
from tests.client import Client
from tests.spread import any_database

pytestmark = any_database

ALLOWED = ("ışıl", "İrem", "Müller", "Łukasz", "Ёж", "Том", "Νίκος", "张三", "上海ops", "admın-ş", "٣٣٣")
REFUSED = (
    "admın",
    "ıris",
    "аdmin",
    "ａdmin",
    "ɑdmin",
    "асе",
    "ТОМ",
    "Сара1",
    "ορ",
    "ρία",
    "օս",
    "\u13aa\u13df\u13ac",
    "adm\u3007n",
    "r٣",
    "۱۵",
)


@pytest.mark.parametrize("username", ALLOWED)
def test_names_of_every_script_are_allowed(admin: Client, username: str) -> None:
    body = {"username": username, "email": "new@example.com", "password": "a new long password"}
    assert admin.call("POST", "/api/users", json=body, expect=201)["data"]["username"] == username


@pytest.mark.parametrize("username", REFUSED)
def test_a_name_that_looks_like_another_is_refused(admin: Client, username: str) -> None:
    body = {"username": username, "email": "new@example.com", "password": "a new long password"}
    data = admin.call("POST", "/api/users", json=body, expect=422)["data"]
    assert {name: [each["rule"] for each in found] for name, found in data["problems"].items()} == {
        "username": ["format"]
    }


def test_a_name_can_be_changed_to_none_that_looks_like_another(admin: Client) -> None:
    path = f"/api/users/{admin.user.id}"
    assert list(admin.call("PATCH", path, json={"username": "асе"}, expect=422)["data"]["errors"]) == ["username"]


def test_the_look_alikes_are_those_of_unicode() -> None:
    plain = set(string.ascii_letters + string.digits)
    assert {
        character
        for character, others in confusables_data.items()
        if len(character) == 1
        and character.isalnum()
        and not character.isascii()
        and unicodedata.is_normalized("NFKC", character)
        and not unicodedata.name(character).startswith("LATIN")
        and any(other["c"] in plain for other in others)
    } == formats._LIKE_ASCII
