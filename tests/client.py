"""A test client that checks every response: envelope, OpenAPI document, and no leaked secrets."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from flask import Flask, has_app_context
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import config
from app.core.http.session_cookies import ACCESS, REFRESH
from app.users.models import User
from tests.openapi import JSON, Document, operation_at

Body = dict[str, Any]

PASSWORD = "canary of a password"
"""The password of all test users; like all canaries, no response may contain it."""

CANARIES = (
    PASSWORD,
    "$2b$",
    "only-for-tests",
    "Traceback",
    "psycopg",
    "pymysql",
    "sqlite3",
    "sqlalchemy",
    "SELECT ",
    "INSERT INTO",
    "UPDATE ",
    "site-packages",
    str(config.ROOT),
)
"""Texts that no response may contain: secrets, SQL, stack traces, paths."""


class Client:
    """Sends requests with the token of a user, with any other token, or with none."""

    def __init__(self, app: Flask, document: Document, token: str | None = None, user: User | None = None) -> None:
        self.app = app
        self.document = document
        self.token = token
        self._user = user

    @property
    def user(self) -> User:
        assert self._user is not None, "This client is not signed in."
        return self._user

    def call(self, method: str, path: str, *, expect: int | tuple[int, ...] = 200, **options: Any) -> Body:
        """Send a request, check the response and return its body. For the options see `send`."""
        body: Body = orjson.loads(self.send(method, path, expect=expect, **options).data)
        return body

    def send(
        self,
        method: str,
        path: str,
        *,
        expect: int | tuple[int, ...] = 200,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> TestResponse:
        """Send a request and check the response, which must have the status `expect`, or one of several.

        `options` are those of werkzeug's test client: json, query_string, data, content_type.
        """
        # A request inside an application context would share its session and its actor.
        assert not has_app_context(), "Leave the application context before sending a request."
        sent = dict(options)
        if "json" in sent:
            # Not the application's encoder: it refuses numbers of more than 64 bits, which tests must send.
            sent.update(data=json.dumps(sent.pop("json")), content_type=JSON)
        response = self._connection().open(
            path, method=method, headers={**self._own_headers(), **(headers or {})}, buffered=True, **sent
        )
        begin = response.data[:2000].decode(errors="replace")
        shown = f"{method} {path} answered {response.status_code}: {begin}"
        assert response.status_code in (expect if isinstance(expect, tuple) else (expect,)), shown
        self._check(method, path, options, response)
        return response

    def _connection(self) -> FlaskClient:
        # It would replace a Cookie header that a test sends.
        return self.app.test_client(use_cookies=False)

    def _own_headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _check(self, method: str, path: str, options: Mapping[str, Any], response: TestResponse) -> None:
        assert response.headers["X-Request-ID"]
        for canary in CANARIES:
            assert canary.encode() not in response.data, f"{canary!r} is in the answer to {method} {path}."
        if method == "HEAD":
            return
        body = orjson.loads(response.data) if response.mimetype == JSON else None
        if response.mimetype == JSON:
            check_envelope(body, response.status_code)
        operation = operation_at(self.app, urlsplit(path).path, method)
        parameters = _parameters(path, options)
        self.document.check_answer(
            operation,
            response.status_code,
            response.mimetype,
            body,
            headers=response.headers.keys(),
            in_part="fields" in parameters,
        )
        if operation is not None and response.status_code < 400:
            self.document.check_request(operation, parameters, options.get("json"))


class BrowserPage(Client):
    """A page of our origin, or of another one, with the cookies of its browser."""

    def __init__(self, app: Flask, document: Document, user: User, origin: str = "http://localhost") -> None:
        super().__init__(app, document, user=user)
        self.origin = origin
        self.browser = app.test_client()

    def log_in(self, **options: Any) -> TestResponse:
        body = {"username": self.user.username, "password": PASSWORD}
        return self.send("POST", "/api/auth/browser/login", json=body, **options)

    def cookies(self) -> dict[str, str]:
        """The values of the cookies that the browser holds."""
        held = [self.browser.get_cookie(cookie.plain_name, path=cookie.path) for cookie in (ACCESS, REFRESH)]
        return {cookie.key: cookie.value for cookie in held if cookie is not None}

    def _connection(self) -> FlaskClient:
        return self.browser

    def _own_headers(self) -> Mapping[str, str]:
        return {"Origin": self.origin}


def check_envelope(body: Body, status: int) -> None:
    """Assert that a body has exactly the keys of the envelope, and the code of its status."""
    assert set(body) - {"pagination"} == {"code", "message", "data"}, body
    if status < 400:
        assert (body["code"], body["message"]) == (0, "success")
    else:
        assert body["code"] == status
        assert body["message"].endswith((".", "?", "。", "？")), body["message"]
        assert body["data"]["reason"]
        assert "pagination" not in body


def _parameters(path: str, options: Mapping[str, Any]) -> list[str]:
    given = options.get("query_string", urlsplit(path).query)
    if isinstance(given, str):
        return [name for name, _ in parse_qsl(given, keep_blank_values=True)]
    return list(given)
