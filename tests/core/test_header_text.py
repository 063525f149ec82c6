"""Reasons and user agents: every spelling of a text is read, and nothing of a reason is dropped or cut in silence."""

from urllib.parse import quote

import pytest

from app.core.header_text import UNREADABLE
from tests.backends import Backend
from tests.client import PASSWORD, Body, Client
from tests.factories import Make
from tests.server import encode_request, send_simultaneously, served
from tests.spread import any_database

pytestmark = any_database

TEXT = "Ticket 4711: ärger 机房"


def newest(admin: Client) -> Body:
    record: Body = admin.call("GET", "/api/audit-logs", query_string={"sort": "-id", "page_size": 1})["data"][0]
    return record


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (" broken\tfan ", "broken fan"),
        ("raised to 100%", "raised to 100%"),
        (quote(TEXT), TEXT),
        (TEXT.encode().decode("latin-1"), TEXT),
        ("UTF-8''" + quote(TEXT), TEXT),
        ("utf-8'de-AT'Ger%c3%a4t", "Gerät"),
        (quote("ä" * 500), "ä" * 500),
    ],
)
def test_header_is_decoded(admin: Client, sent: str, read: str) -> None:
    body = {"name": "made"}
    admin.call("POST", "/api/servers", json=body, headers={"X-Audit-Reason": sent}, expect=201)
    assert newest(admin)["reason"] == read


@pytest.mark.parametrize("sent", ["", " ", ",second", "first,", "\xff\xfe", "Ger%E4t", "%00", "%1b[2J", "x" * 501])
def test_unreadable_header_is_refused(admin: Client, sent: str) -> None:
    for method, path in (("POST", "/api/servers"), ("GET", "/api/servers")):
        options = {"json": {"name": "made"}} if method == "POST" else {}
        answer = admin.call(method, path, headers={"X-Audit-Reason": sent}, expect=400, **options)
        assert answer["data"]["reason"] == "invalid_reason"
        assert answer["message"].startswith("X-Audit-Reason: ")
    assert newest(admin)["action"] == "login"


@pytest.mark.parametrize("sent", ["", " ", "\0", "\x1b[2J", "x" * 501])
def test_unreadable_parameter_is_refused(admin: Client, sent: str) -> None:
    options = {"json": {"name": "made"}, "query_string": {"reason": sent}}
    assert admin.call("POST", "/api/servers", expect=400, **options)["data"]["reason"] == "invalid_reason"
    assert newest(admin)["action"] == "login"


def test_one_reason_only(admin: Client) -> None:
    options = {"json": {"name": "made"}, "headers": {"X-Audit-Reason": "one"}}
    admin.call("POST", "/api/servers?reason=two", expect=400, **options)
    admin.call("POST", "/api/servers?reason=one", expect=201, **options)
    assert newest(admin)["reason"] == "one"


def test_reason_is_no_parameter_of_reads(admin: Client) -> None:
    admin.call("GET", "/api/servers?reason=why", expect=400)
    assert admin.call("GET", "/api/audit-logs?reason=why")["data"] == []


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("tests/1", "tests/1"),
        ("a\tb", "a b"),
        ("", UNREADABLE),
        ("%E5%BE%AE%E4%BF%A1/8 (100%)", "微信/8 (100%)"),
        ("Ger%E4t/1", "Ger%E4t/1"),
        ("\xff\xfe", "\ufffd\ufffd"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
    ],
)
def test_user_agent(admin: Client, sent: str, read: str) -> None:
    """Nobody is locked out for the name of a browser: what cannot be read of it is marked."""
    admin.call("POST", "/api/servers", json={"name": "made"}, headers={"User-Agent": sent}, expect=201)
    assert newest(admin)["user_agent"] == read


def test_through_the_server(backend: Backend, make: Make, admin: Client) -> None:
    """granian hands over an empty text for a header that is not ASCII."""
    credentials = {"username": admin.user.username, "password": PASSWORD}
    with served(backend.settings(), REDIS_URL="", TRUSTED_PROXIES="1") as server:
        token = server.call("POST", "/api/auth/login", body=credentials).body["data"]["access_token"]

        def create(name: str, query: str = "", *headers: bytes) -> tuple[int, Body]:
            head, _, body = encode_request("POST", f"/api/servers{query}", token, {"name": name}).partition(b"\r\n\r\n")
            request = b"\r\n".join([head, *headers, b"", body])
            (response,) = send_simultaneously([(server, request)])
            return response.status, response.body

        for number, accepted in enumerate((quote(TEXT), "UTF-8''" + quote(TEXT))):
            status, _ = create(f"header-{number}", "", f"X-Audit-Reason: {accepted}".encode(), b"User-Agent: G%C3%A4")
            record = newest(admin)
            assert (status, record["reason"], record["user_agent"]) == (201, TEXT, "Gä")
        assert create("parameter", f"?reason={quote(TEXT)}")[0] == 201
        assert newest(admin)["reason"] == TEXT

        raw = TEXT.encode()
        for headers in ([raw], ["Gerät".encode("latin-1")], [b"first", raw], [raw, b"second"], [b"x" * 501]):
            status, body = create("refused", "", *(b"X-Audit-Reason: " + text for text in headers))
            assert (status, body["data"]["reason"]) == (400, "invalid_reason")
        assert create("refused", f"?reason={'x' * 501}")[0] == 400
        assert newest(admin)["resource_name"] == "parameter"

        assert create("agent", "", b"User-Agent: " + raw)[0] == 201
        assert newest(admin)["user_agent"] == UNREADABLE
        # Behind a proxy it would hide the client's address, from the log and from the limit of logins.
        assert create("refused", "", b"X-Forwarded-For: " + raw + b", 203.0.113.9")[0] == 400
        assert create("forwarded", "", b"X-Forwarded-For: 203.0.113.9")[0] == 201
        assert newest(admin)["ip_address"] == "203.0.113.9"
        assert create("refused", "", b"Idempotency-Key: " + raw)[0] == 400
