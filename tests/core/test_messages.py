"""Messages in the language that a client asks for, and catalogues that have all of them."""

import ast
import string
from pathlib import Path
from typing import Any

import pytest

from app.core.error_catalog import catalog
from app.core.errors import ApiError
from app.core.library_messages import recognised
from app.core.messages import LANGUAGES, Message, Term, localize, tr
from app.translations.update import APP, as_mo, as_po, catalogs
from tests.client import Client
from tests.spread import any_database

pytestmark = any_database

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}


def test_a_message_is_in_the_language_of_the_client(user: Client) -> None:
    response = user.send("GET", "/api/servers/999", expect=404, headers=CHINESE)

    assert response.get_json()["message"] == "没有编号为 999 的服务器。"
    assert response.get_json()["data"]["reason"] == "not_found"
    assert response.get_json()["data"]["parameters"] == {"what": "服务器", "object_id": 999}
    assert response.headers["Content-Language"] == "zh"
    assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.parametrize("asked", [None, "en", "de", "fr-CH, de;q=0.9", "*", "\N{SNOWMAN}".encode().decode("latin-1")])
def test_other_languages_are_answered_in_english(user: Client, asked: str | None) -> None:
    headers = {} if asked is None else {"Accept-Language": asked}
    response = user.send("GET", "/api/servers/999", expect=404, headers=headers)

    assert response.get_json()["message"] == "There is no server 999."
    assert response.headers["Content-Language"] == "en"


def test_a_name_within_a_sentence_keeps_its_capitals(user: Client) -> None:
    assert user.call("GET", "/api/gpus/7", expect=404)["message"] == "There is no GPU 7."


def test_the_parameter_lang_goes_before_the_header(user: Client) -> None:
    message = user.call("GET", "/api/servers/999?lang=en", expect=404, headers=CHINESE)["message"]

    assert message == "There is no server 999."


def test_a_view_does_not_see_the_parameter_lang(user: Client) -> None:
    assert user.call("GET", "/api/servers?lang=zh&page_size=1")["data"] == []
    assert user.call("POST", "/api/servers?lang=zh", json={"name": "n1"}, expect=201)


def test_an_unknown_language_is_refused(user: Client) -> None:
    body = user.call("GET", "/api/servers?lang=tlh", expect=400)

    assert body["message"] == "lang must be one of en, zh."
    assert body["data"]["reason"] == "invalid_parameter"


def test_a_field_says_which_rule_it_breaks(user: Client) -> None:
    body = {"cpu_cores": -1, "internal_ip": "here", "nmae": "n1", "tags": "a"}
    data = user.call("POST", "/api/servers", json=body, expect=422, headers=CHINESE)["data"]

    assert {name: [each["rule"] for each in found] for name, found in data["problems"].items()} == {
        "name": ["required"],
        "cpu_cores": ["range"],
        "internal_ip": ["format"],
        "nmae": ["unknown"],
        "tags": ["type"],
    }
    assert data["errors"] == {name: [each["message"] for each in found] for name, found in data["problems"].items()}
    assert data["errors"]["name"] == ["必填。"]
    assert data["problems"]["cpu_cores"][0]["min"] == 0


def test_items_of_a_bulk_write_are_in_the_language_too(user: Client) -> None:
    body = {"mode": "partial", "items": [{"id": 999, "name": "n1"}]}
    data = user.call("PATCH", "/api/servers/bulk", json=body, headers=CHINESE)["data"]

    assert data["results"][0]["error"]["message"] == "没有编号为 999 的服务器。"


def test_a_parameter_of_a_list_that_does_not_exist(user: Client) -> None:
    message = user.call("GET", "/api/servers?nam=n1", expect=400, headers=CHINESE)["message"]

    assert message.startswith("没有参数 nam。您是指")


def test_messages_of_the_library_are_recognised() -> None:
    message = recognised("Must be greater than or equal to 1 and less than or equal to 65535.")

    assert isinstance(message, Message)
    assert (message.rule, message.parameters) == ("range", {"min": 1, "max": 65535})
    assert recognised("Something else.") == "Something else."


def test_a_message_is_not_taken_for_another_of_its_text() -> None:
    """A Message equals each str of its text, so a cache would answer with the first of them."""
    template = "There is no {what} in rack A1."
    plain = recognised("There is no server in rack A1.")
    texts = [Message(template, "unknown", {"what": Term("server", chinese)}) for chinese in ("机", "服")]

    assert all(recognised(text) is text for text in texts)
    assert [localize(recognised(text), "zh") for text in texts] == [template.format(what=each) for each in ("机", "服")]
    assert recognised("There is no server in rack A1.") is plain
    assert not isinstance(plain, Message)


def test_the_language_of_an_earlier_caller_does_not_stick(user: Client) -> None:
    body = {"name": "n1", "mac_address": "here", "cpu_cores": -1, "purchase_date": "soon"}

    def errors(language: str) -> dict[str, list[str]]:
        headers = {"Accept-Language": language}
        messages: dict[str, list[str]] = user.call("POST", "/api/servers", json=body, expect=422, headers=headers)[
            "data"
        ]["errors"]
        return messages

    english, chinese = errors("en"), errors("zh")

    assert (errors("en"), errors("zh")) == (english, chinese)
    assert english.keys() == chinese.keys() == body.keys() - {"name"}
    for name in english:
        assert all(text.isascii() for text in english[name])
        assert not any(text.isascii() for text in chinese[name])


def test_what_is_not_a_message_stays_as_it_is() -> None:
    assert localize({"a": [1, None, "b", Term("server", "服务器")]}, "zh") == {"a": [1, None, "b", "服务器"]}
    assert localize(tr("There is no {what} {given}.", what=Term("field", "字段"), given="{}"), "zh") == "没有字段 {}。"


def test_the_catalogues_are_current() -> None:
    for path, current in catalogs():
        assert path.read_bytes() == as_po(current), f"Run `make messages`, and translate what is new in {path}."
        assert path.with_suffix(".mo").read_bytes() == as_mo(current), "Run `make messages`."


def test_every_message_has_a_translation_with_the_same_parameters() -> None:
    assert [path.parent.parent.name for path, _ in catalogs()] == list(LANGUAGES[1:])
    for _, current in catalogs():
        for message in current:
            if message.id:
                assert message.string, f"{message.id!r} has no translation."
                assert _parameters(message.string) == _parameters(message.id), message.id


def test_every_error_has_a_message_that_is_translated() -> None:
    assert [reason for reason, entry in catalog().items() if not isinstance(entry.message, Message)] == []


def test_no_error_is_raised_with_a_text_that_is_not_translated() -> None:
    assert [place for path in sorted(APP.rglob("*.py")) for place in _plain_texts(path)] == []


def _parameters(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name}
    except ValueError:  # a sentence with braces, and without parameters
        return set()


def _errors() -> set[str]:
    def below(kind: type[ApiError]) -> set[str]:
        return {kind.__name__}.union(*(below(derived) for derived in kind.__subclasses__()))

    return below(ApiError)


def _plain_texts(path: Path) -> list[str]:
    """Where an error is made of a literal text, for the answer or for a field."""
    places = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id in _errors():
            texts: list[Any] = [*node.args, *(each.value for each in node.keywords if each.arg == "errors")]
        elif node.func.id == "ValidationError":
            texts = node.args
        else:
            continue
        inner = [
            value
            for text in texts
            for value in ([text] if not isinstance(text, ast.Dict) else text.values)
            for value in (value.elts if isinstance(value, ast.List) else [value])
        ]
        if any(isinstance(each, ast.JoinedStr | ast.Constant) for each in inner):
            places.append(f"{path.relative_to(APP)}:{node.lineno}")
    return places
