"""What a server answers to requests that no test client sends: odd hosts, paths and headers, over raw sockets."""

import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import orjson
import pytest
from flask import Flask

from tests.backends import Backend, on_sqlite
from tests.client import check_envelope
from tests.server import Server, served
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS

pytestmark = any_database

HOSTS = {
    "none": "",
    "one": "Host: evil.example\r\n",
    "two": "Host: a\r\nHost: evil.example\r\n",
    "list": "Host: a,evil.example\r\n",
    "half-address": "Host: [::1\r\n",
    "path": "Host: a/b\r\n",
    "user": "Host: a@evil.example\r\n",
    "non-ascii": "Host: \xe9\r\n",
}
TARGETS = {
    "/api/health": 200,
    "/api/v1/health": 200,
    "/api/v1//health": 404,
    "/api/v1/v1/health": 404,
    "//api/v1/health": (200, 404),
    "//api/health": (200, 404),
    "/api//health": 404,
    "//api//health": 404,
    "/api/health/": 404,
    "/api/health//": 404,
    "//evil.example": 404,
    "//evil.example/api//health": 404,
    "http://evil.example/api/health": 200,
    "http://evil.example//api//health": 404,
    "/api/docs//index.css": 404,
    "/api//docs": 404,
}


@pytest.fixture(scope="module")
def server(backend: Backend, migrated_app: Flask) -> Iterator[Server]:
    with served(backend.settings(), TRUSTED_PROXIES="1", CORS_ORIGINS="https://app.example.com") as server:
        yield server


def answer(server: Server, request: str) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body that the server sends for these characters, each a byte."""
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS) as connection:
        connection.sendall(request.encode("latin-1"))
        with HTTPResponse(connection) as response:
            response.begin()
            return response.status, {name.lower(): text for name, text in response.getheaders()}, response.read()


@on_sqlite
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_no_host_and_no_path_redirects_or_escapes_the_envelope(server: Server, host: str, version: str) -> None:
    for target, expected in TARGETS.items():
        request = f"GET {target} HTTP/{version}\r\n{host}Origin: http://evil.example\r\nConnection: close\r\n\r\n"
        status, headers, body = answer(server, request)
        assert status in (expected if isinstance(expected, tuple) else (expected,)), target
        assert "location" not in headers
        check_envelope(orjson.loads(body), status)


@on_sqlite
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_refusal_says_how_to_authenticate(server: Server, host: str, scheme: str) -> None:
    request = f"GET /api/servers HTTP/1.1\r\n{host}Connection: close\r\n"
    for authorization, challenge in (
        ("", r'Bearer realm="itam"'),
        (f"Authorization: {scheme} x\r\n", r'Bearer realm="itam", error="invalid_token"'),
    ):
        status, headers, body = answer(server, f"{request}{authorization}\r\n")
        assert status == 401
        assert re.fullmatch(challenge, headers["www-authenticate"])
        assert headers["cache-control"] == "no-store"
        check_envelope(orjson.loads(body), status)
