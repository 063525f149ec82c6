"""Sessions of pages of our own origin: cookies instead of tokens, and no use of them by other sites."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from flask import Flask
from flask_jwt_extended import create_access_token, decode_token

from app.core.http.access import Role
from app.users.models import User
from tests.backends import Backend
from tests.client import PASSWORD, BrowserPage, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.openapi import Document
from tests.server import Server, encode_request, send_simultaneously, served
from tests.spread import any_database

pytestmark = any_database

ME, LOGIN, REFRESH = "/api/auth/me", "/api/auth/browser/login", "/api/auth/browser/refresh"
OTHER_SITE = "https://evil.example"
FOREIGN: list[Mapping[str, str]] = [
    {"Origin": OTHER_SITE},
    {"Origin": "null"},
    {"Origin": "https://localhost"},
    {"Origin": "http://localhost:8080"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
    {"Origin": OTHER_SITE, "Sec-Fetch-Site": "same-origin"},
]


@pytest.fixture
def page(app: Flask, document: Document, make: Make) -> BrowserPage:
    """A page of our origin whose user has signed in."""
    page = BrowserPage(app, document, make(User))
    page.log_in()
    return page


def attributes_of(headers: list[str]) -> dict[str, dict[str, Any]]:
    """The attributes of the cookies that an answer sets, by name, without those that are empty."""
    cookies = SimpleCookie("; ".join(headers))
    return {name: {key: value for key, value in cookie.items() if value} for name, cookie in cookies.items()}


def test_a_login_answers_without_tokens_and_sets_two_cookies(app: Flask, document: Document, make: Make) -> None:
    user = make(User)
    response = BrowserPage(app, document, user).log_in()
    assert response.json is not None
    assert set(response.json["data"]) == {"expires_in", "user"}
    assert response.json["data"]["user"]["id"] == user.id
    attributes = attributes_of(response.headers.getlist("Set-Cookie"))
    for name, path, age in (("itam_access", "/", 1800), ("itam_refresh", REFRESH, 30 * 86_400)):
        cookie = attributes[name]
        del cookie["expires"]
        assert cookie == {"path": path, "max-age": str(age), "httponly": True, "samesite": "Strict"}


def test_a_page_may_name_the_version(app: Flask, make: Make) -> None:
    browser, origin = app.test_client(), {"Origin": "http://localhost"}
    account = {"username": make(User).username, "password": PASSWORD}
    assert browser.post("/api/v1/auth/browser/login", json=account, headers=origin).status_code == 200
    # A browser sends the cookie to the path that the cookie names.
    assert browser.post("/api/v1/auth/browser/refresh", headers=origin).status_code == 200
    assert browser.post("/api/v1/auth/logout", headers=origin).status_code == 200
    assert browser.post("/api/v1/auth/browser/refresh", headers=origin).status_code == 401


def test_cookies_of_production_are_secure(build_app: Callable[..., Flask], document: Document, make: Make) -> None:
    page = BrowserPage(build_app(FLASK_ENV="production"), document, make(User))
    attributes = attributes_of(page.log_in().headers.getlist("Set-Cookie"))
    assert set(attributes) == {"__Host-itam_access", "__Secure-itam_refresh"}
    assert all(cookie["secure"] and cookie["httponly"] for cookie in attributes.values())
    assert attributes["__Host-itam_access"]["path"] == "/"


def test_a_page_reads_and_writes_in_person(page: BrowserPage) -> None:
    assert page.call("GET", ME)["data"]["id"] == page.user.id
    page.call("PATCH", ME, json={"full_name": "Ada"})
    page.call("POST", "/api/auth/tokens", json={"name": "ci", "scopes": ["read"]}, expect=201)
    (session,) = page.call("GET", "/api/auth/sessions")["data"]
    assert session["is_current"]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_origin_is_not_signed_in(page: BrowserPage, headers: Mapping[str, str]) -> None:
    assert page.call("GET", ME, headers=headers, expect=401)["data"]["reason"] == "token_missing"


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", ME, {"full_name": "Mallory"}),
        ("POST", "/api/auth/logout", None),
        ("POST", "/api/tasks", {"title": "forged"}),
        ("POST", REFRESH, None),
    ],
)
def test_a_write_from_another_origin_changes_nothing(
    page: BrowserPage, headers: Mapping[str, str], method: str, path: str, body: Any
) -> None:
    before, cookies = page.call("GET", ME)["data"], page.cookies()
    options = {} if body is None else {"json": body}
    for extra in ({}, {"Idempotency-Key": "forged"}) if method == "POST" else ({},):
        answer = page.call(method, path, headers={**headers, **extra}, expect=403, **options)
        assert answer["data"]["reason"] == "cross_site"
    assert page.call("GET", ME)["data"] == before
    assert page.call("GET", "/api/tasks")["data"] == []
    assert page.cookies() == cookies
    page.call("POST", REFRESH)


def test_a_write_without_proof_of_its_origin_is_refused(page: BrowserPage) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies().items())
    script = Client(page.app, page.document)
    change = {"json": {"full_name": "Ada"}}
    script.call("GET", ME, headers={"Cookie": cookie})
    assert script.call("PATCH", ME, headers={"Cookie": cookie}, expect=403, **change)["data"]["reason"] == "cross_site"
    script.call("PATCH", ME, headers={"Cookie": cookie, "Sec-Fetch-Site": "none"}, expect=403, **change)
    script.call("PATCH", ME, headers={"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}, **change)


@pytest.mark.parametrize("headers", [*FOREIGN, {}])
def test_no_other_site_signs_somebody_in(
    app: Flask, document: Document, make: Make, headers: Mapping[str, str]
) -> None:
    body = {"username": make(User).username, "password": PASSWORD}
    response = Client(app, document).send("POST", LOGIN, json=body, headers=headers, expect=403)
    assert "Set-Cookie" not in response.headers


def test_the_origin_behind_a_proxy_is_the_one_that_browsers_see(
    build_app: Callable[..., Flask], document: Document, make: Make
) -> None:
    proxied = {"Host": "itam.example.com", "X-Forwarded-Proto": "https"}
    page = BrowserPage(build_app(TRUSTED_PROXIES=1), document, make(User), "https://itam.example.com")
    page.log_in(headers=proxied)
    page.log_in(headers={**proxied, "X-Forwarded-Proto": "http"}, expect=403)


def test_a_bearer_token_wins_over_the_cookies(page: BrowserPage, sign_in: SignIn) -> None:
    other = sign_in(role=Role.ADMIN)
    bearer = {"Authorization": f"Bearer {other.token}"}
    assert page.call("GET", ME, headers=bearer)["data"]["id"] == other.user.id
    # From anywhere: other sites have no token.
    page.call("PATCH", ME, json={"full_name": "Ada"}, headers={**bearer, "Origin": OTHER_SITE})
    page.call("GET", ME, headers={"Authorization": "Bearer wrong"}, expect=401)
    assert "Set-Cookie" not in page.send("POST", "/api/auth/logout", headers=bearer).headers
    page.call("GET", ME)


def test_a_refresh_changes_both_cookies_and_its_reuse_ends_the_session(page: BrowserPage) -> None:
    before = page.cookies()
    assert page.call("POST", REFRESH)["data"] == {"expires_in": 1800}
    after = page.cookies()
    assert all(before[name] != after[name] for name in ("itam_access", "itam_refresh"))
    page.call("GET", ME)
    stolen = {"Cookie": f"itam_refresh={before['itam_refresh']}", "Origin": "http://localhost"}
    answer = Client(page.app, page.document).call("POST", REFRESH, headers=stolen, expect=401)
    assert answer["data"]["reason"] == "token_revoked"
    page.call("GET", ME, expect=401)
    page.call("POST", REFRESH, expect=401)


def test_a_token_of_one_kind_is_refused_in_the_cookie_of_the_other(page: BrowserPage) -> None:
    access, refresh = (page.cookies()[name] for name in ("itam_access", "itam_refresh"))
    script = Client(page.app, page.document)
    script.call("GET", ME, headers={"Cookie": f"itam_access={refresh}"}, expect=401)
    crossed = {"Cookie": f"itam_refresh={access}", "Origin": "http://localhost"}
    script.call("POST", REFRESH, headers=crossed, expect=401)


@pytest.mark.race
@pytest.mark.parametrize("tabs", [2, 10])
def test_tabs_that_refresh_at_the_same_time_stay_signed_in(backend: Backend, make: Make, tabs: int) -> None:
    """Two processes; the tabs share the cookies of their browser."""
    credentials = {"username": make(User).username, "password": PASSWORD}
    with served(backend.settings(), REDIS_URL="") as one, served(backend.settings(), REDIS_URL="") as two:
        login = encode_request("POST", LOGIN, body=credentials, headers={"Origin": "http://127.0.0.1"})
        (response,) = send_simultaneously([(one, login)])
        for _ in range(3):
            cookie = f"itam_refresh={response.cookies['itam_refresh'].value}"
            request = encode_request("POST", REFRESH, headers={"Sec-Fetch-Site": "same-origin", "Cookie": cookie})
            responses = send_simultaneously([(server, request) for server in [one, two] * (tabs // 2)])
            assert [answer.status for answer in responses] == [200] * tabs
            (response,) = [answer for answer in responses if answer.cookies]
            assert all(status_of_page(server, response.cookies) == 200 for server in (one, two))


def status_of_page(server: Server, cookies: SimpleCookie) -> int:
    headers = {"Cookie": f"itam_access={cookies['itam_access'].value}"}
    (response,) = send_simultaneously([(server, encode_request("GET", ME, headers=headers))])
    return response.status


def test_a_logout_ends_the_session_and_clears_the_cookies(page: BrowserPage) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies().items())
    page.call("POST", "/api/auth/logout")
    assert page.cookies() == {}
    page.call("GET", ME, expect=401)
    script = Client(page.app, page.document)
    assert script.call("GET", ME, headers={"Cookie": cookie}, expect=401)["data"]["reason"] == "token_revoked"
    script.call("POST", REFRESH, headers={"Cookie": cookie, "Origin": "http://localhost"}, expect=401)


def test_what_ends_a_session_ends_it_for_its_cookies(
    app: Flask, document: Document, page: BrowserPage, admin: Client
) -> None:
    second = BrowserPage(app, document, page.user)
    second.log_in()
    change = {"current_password": PASSWORD, "new_password": "another canary 42"}
    page.call("POST", "/api/auth/change-password", json=change)
    page.call("GET", ME)
    second.call("GET", ME, expect=401)
    second.call("POST", REFRESH, expect=401)
    admin.call("PATCH", f"/api/users/{page.user.id}", json={"is_active": False})
    page.call("GET", ME, expect=401)
    page.call("POST", REFRESH, expect=401)


def test_an_expired_access_cookie_is_refused(app: Flask, page: BrowserPage) -> None:
    with app.app_context():
        claims = {"sid": decode_token(page.cookies()["itam_access"])["sid"]}
        late = timedelta(seconds=-1)
        expired = create_access_token(str(page.user.id), expires_delta=late, additional_claims=claims)
    page.browser.set_cookie("itam_access", expired)
    assert page.call("GET", ME, expect=401)["data"]["reason"] == "token_expired"
    page.call("POST", REFRESH)
    page.call("GET", ME)


def test_a_login_that_is_sent_again_sets_both_cookies_again(app: Flask, document: Document, make: Make) -> None:
    page = BrowserPage(app, document, make(User))
    first = page.log_in(headers={"Idempotency-Key": "once"})
    again = page.log_in(headers={"Idempotency-Key": "once"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers.getlist("Set-Cookie") == first.headers.getlist("Set-Cookie")
    (_,) = page.call("GET", "/api/auth/sessions")["data"]


def test_a_creation_by_cookie_that_is_sent_again(page: BrowserPage) -> None:
    body, key = {"title": "once"}, {"Idempotency-Key": "once"}
    first = page.call("POST", "/api/tasks", json=body, headers=key, expect=201)
    assert page.call("POST", "/api/tasks", json=body, headers=key, expect=201) == first


def test_each_session_by_cookie_has_its_own_limit(
    build_app: Callable[..., Flask], document: Document, make: Make
) -> None:
    app = build_app(API_LIMIT="3 per minute")
    one, two = (BrowserPage(app, document, make(User)) for _ in range(2))
    one.log_in()
    two.log_in()
    for _ in range(3):
        one.call("GET", ME)
    one.call("GET", ME, expect=429)
    two.call("GET", ME)
    # Another site cannot use up the limit of a session.
    for _ in range(2):
        two.send("GET", ME, headers={"Origin": OTHER_SITE}, expect=(401, 429))
    two.call("GET", ME)
