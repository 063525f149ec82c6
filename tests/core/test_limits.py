"""How often somebody may ask, from where, and what browsers are told."""

import itertools
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask
from limits import parse

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.http.limits import rate_limiter
from app.core.http.limits.rate_limiter import RateLimiter, Turn, shared_windows
from tests.backends import Backend, on_postgresql
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.openapi import Document
from tests.spread import any_database
from tests.threads import run_concurrently, wait_until

pytestmark = any_database

WRONG = {"username": "nobody", "password": "wrong password"}
Build = Callable[..., Flask]


def somewhere() -> dict[str, str]:
    """An address of this test alone: what is counted in Redis outlives a test."""
    return {"REMOTE_ADDR": "10." + ".".join(str(secrets.randbelow(254) + 1) for _ in range(3))}


def test_logins_are_limited_by_address(build_app: Build, document: Document) -> None:
    client = Client(build_app(LOGIN_LIMIT="3 per minute"), document)
    here, there = somewhere(), somewhere()
    for left in (2, 1, 0):
        answer = client.send("POST", "/api/auth/login", json=WRONG, environ_base=here, expect=401)
        assert answer.headers["RateLimit-Remaining"] == str(left)
    answer = client.send("POST", "/api/auth/login", json=WRONG, environ_base=here, expect=429)
    assert answer.get_json()["data"]["reason"] == "too_many_requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["Retry-After"] == answer.headers["RateLimit-Reset"]
    assert answer.headers["RateLimit-Limit"] == "3"
    client.call("POST", "/api/auth/login", json=WRONG, environ_base=there, expect=401)
    client.call("GET", "/api/health", environ_base=here)


def test_addresses_of_one_client_share_a_limit(build_app: Build, document: Document) -> None:
    client = Client(build_app(LOGIN_LIMIT="1 per minute"), document)
    ipv4, network = somewhere()["REMOTE_ADDR"], f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}"
    for first, second in ((ipv4, f"::ffff:{ipv4}"), (f"{network}::1", f"{network}:0:0:0:2")):
        for address, status in ((first, 401), (second, 429)):
            place = {"REMOTE_ADDR": address}
            client.call("POST", "/api/auth/login", json=WRONG, environ_base=place, expect=status)


def test_the_api_is_limited_by_token(build_app: Build, document: Document, sign_in: SignIn) -> None:
    tokens = [sign_in().token, sign_in().token]
    app = build_app(API_LIMIT="3 per minute")
    first, second = (Client(app, document, token) for token in tokens)
    for _ in range(3):
        first.call("GET", "/api/auth/me")
    first.call("GET", "/api/auth/me", expect=429)
    first.call("GET", "/api/servers", expect=429)
    second.call("GET", "/api/auth/me")


def test_spellings_of_the_scheme_share_a_limit(build_app: Build, document: Document, sign_in: SignIn) -> None:
    token = sign_in().token
    client = Client(build_app(API_LIMIT="3 per minute"), document)
    schemes = ("Bearer ", "bearer ", "BEARER  ", "bEARER ")
    sent = [{"Authorization": f"{scheme}{token}"} for scheme in schemes]
    statuses = [client.send("GET", "/api/auth/me", headers=headers, expect=(200, 429)).status_code for headers in sent]
    assert statuses == [200, 200, 200, 429]


@on_postgresql
def test_workers_share_a_limit(build_app: Build, document: Document, sign_in: SignIn) -> None:
    """Together they admit as many as it says, however the requests are spread."""
    token = sign_in().token
    first, second = (Client(build_app(API_LIMIT="30 per hour"), document, token) for _ in range(2))
    spread = [first] * 7 + [second] * 20 + [first] * 6 + [second] * 6
    answers = [client.send("GET", "/api/health", expect=(200, 429)) for client in spread]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429] * 9
    assert [int(answer.headers["RateLimit-Remaining"]) for answer in answers] == [*range(29, -1, -1), *[0] * 9]


@on_postgresql
def test_a_block_that_a_worker_does_not_use_is_given_back(app: Flask) -> None:
    limit, caller = parse("1000 per hour"), secrets.token_hex(8)
    idle, busy = (RateLimiter(limit, shared_windows(app)) for _ in range(2))
    assert idle.take(caller).is_admitted
    assert [busy.take(caller).is_admitted for _ in range(1001)] == [True] * 999 + [False] * 2


@pytest.mark.race
@on_postgresql
def test_workers_never_admit_more_than_the_limit_together(app: Flask) -> None:
    limit, caller = parse("1000 per hour"), secrets.token_hex(8)
    workers = [RateLimiter(limit, shared_windows(app)) for _ in range(4)]
    # Two threads of each worker.
    calls = [partial(take_until_refused, worker, caller) for worker in workers * 2]
    assert sum(run_concurrently(calls)) == 1000


def take_until_refused(limiter: RateLimiter, caller: str) -> int:
    return sum(1 for _ in itertools.takewhile(lambda allowance: allowance.is_admitted, takes(limiter, caller)))


def takes(limiter: RateLimiter, caller: str) -> Iterator[Turn]:
    while True:
        yield limiter.take(caller)


WINDOWS = 2


@pytest.mark.parametrize("amount", [5, 400])
def test_a_window_admits_as_many_as_the_limit_says(app: Flask, backend: Backend, amount: int) -> None:
    """At every moment of it, by several workers: the first refusal comes after the last one that is allowed."""
    caller, shared = secrets.token_hex(8), shared_windows(app)
    # Without Redis there is one worker.
    workers = [RateLimiter(parse(f"{amount} per 2 second"), shared) for _ in range(1 if shared is None else 3)]
    admitted, begun, end = 0, 0, 0.0
    for limiter in itertools.cycle(workers):
        asked, allowance = time.time(), limiter.take(caller)
        if allowance.is_admitted and asked >= end - TOLERANCE and allowance.ends_at > end + TOLERANCE:
            begun, admitted, end = begun + 1, 0, allowance.ends_at
        if begun > WINDOWS:
            break
        admitted += allowance.is_admitted
        assert admitted <= amount
        assert allowance.is_admitted or admitted == amount


TOLERANCE = 0.9
"""More than the clocks of two answers about one window differ, and less than a window."""


def test_a_new_window_begins_with_the_whole_limit(app: Flask) -> None:
    limiter, caller = RateLimiter(parse("3 per second"), shared_windows(app)), secrets.token_hex(8)
    admitted = [limiter.take(caller).is_admitted for _ in range(4)]
    assert admitted == [True, True, True, False]
    ends_at = limiter.take(caller).ends_at
    wait_until(lambda: limiter.take(caller).is_admitted)
    assert time.time() >= ends_at
    assert limiter.take(caller) == Turn(1, pytest.approx(ends_at + 1, abs=1), is_admitted=True)


def test_a_process_forgets_the_callers_that_it_has_not_heard_of_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "MAX_CALLERS", 2)
    own = rate_limiter.LocalWindows(10, 60)
    assert [own.take(key).remaining for key in "abacab"] == [9, 9, 8, 9, 7, 9]


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
def test_logins_stay_limited_while_redis_is_away(build_app: Build, document: Document, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not answers:
            silent.close()
        app = build_app(REDIS_URL=f"redis://127.0.0.1:{port}/0", LOGIN_LIMIT="3 per minute")
        client, here = Client(app, document), somewhere()
        statuses = [
            client.send("POST", "/api/auth/login", json=WRONG, environ_base=here, expect=(401, 429)).status_code
            for _ in range(5)
        ]
    assert statuses == [401, 401, 401, 429, 429]


@pytest.mark.parametrize(
    ("proxies", "sent", "seen"),
    [
        (0, "203.0.113.5", "127.0.0.1"),
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "198.51.100.1, 203.0.113.5", "203.0.113.5"),
        (2, "198.51.100.1, 203.0.113.5, 10.0.0.1", "203.0.113.5"),
        (1, None, "127.0.0.1"),
    ],
)
def test_a_forwarded_address_counts_only_behind_trusted_proxies(
    build_app: Build, document: Document, proxies: int, sent: str | None, seen: str
) -> None:
    client = Client(build_app(TRUSTED_PROXIES=proxies), document)
    headers = {} if sent is None else {"X-Forwarded-For": sent}
    client.call("POST", "/api/auth/login", json=WRONG, headers=headers, expect=401)
    with client.app.app_context():
        assert db.session.query(AuditLog).one().ip_address == seen


SPELLINGS = {
    "IPv4": ("203.0.113.9", "::ffff:203.0.113.9", "203.0.113.9:4711", "[::ffff:203.0.113.9]:80", "::FFFF:CB00:7109"),
    "IPv6": ("2001:db8::1", "2001:DB8:0:0::2", "[2001:db8::3]", "[2001:db8::4]:443", "2001:db8::ffff:5"),
}


@pytest.mark.parametrize("spellings", SPELLINGS.values(), ids=SPELLINGS)
def test_a_client_has_one_limit_however_a_proxy_writes_its_address(
    build_app: Build, document: Document, spellings: tuple[str, ...]
) -> None:
    client = Client(build_app(TRUSTED_PROXIES=1, LOGIN_LIMIT="4 per minute"), document)
    statuses = [
        client.send(
            "POST", "/api/auth/login", json=WRONG, headers={"X-Forwarded-For": sent}, expect=(401, 429)
        ).status_code
        for sent in spellings
    ]
    assert statuses == [401, 401, 401, 401, 429]


def test_answers_tell_browsers_to_treat_them_as_data(anonymous: Client) -> None:
    for path in ("/api/health", "/api/nothing"):
        headers = anonymous.send("GET", path, expect=(200, 404)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Strict-Transport-Security" not in headers
    secure = anonymous.send("GET", "/api/health", base_url="https://localhost")
    assert secure.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/auth/me",
        "/api/auth/me/activity",
        "/api/auth/sessions",
        "/api/auth/tokens",
        "/api/users",
        "/api/users/{me}",
        "/api/users/{me}/history",
        "/api/users/export.csv",
        "/api/audit-logs",
        "/api/audit-logs/export.csv",
        "/api/events",
        "/api/search?q=a",
        "/api/dashboard",
        "/api/servers",
        "/api/imports",
        "/api/nothing",
    ],
)
def test_nothing_that_names_people_is_kept_by_caches(admin: Client, path: str) -> None:
    answer = admin.send("GET", path.format(me=admin.user.id), expect=(200, 404))
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_not_modified_answer_is_not_kept_either(admin: Client) -> None:
    tag = admin.send("GET", "/api/events").headers["ETag"]
    answer = admin.send("GET", "/api/events", headers={"If-None-Match": tag}, expect=304)
    assert answer.headers["Cache-Control"] == "no-store"


def test_front_ends_elsewhere_are_allowed_by_name(build_app: Build, document: Document) -> None:
    client = Client(build_app(CORS_ORIGINS=("https://app.example.com",)), document)
    asked: dict[str, Any] = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PATCH"}
    asked["Access-Control-Request-Headers"] = (
        "authorization, content-type, idempotency-key, if-match, if-none-match, x-audit-reason, x-request-id"
    )
    allowed = client.app.test_client().options("/api/servers", headers=asked)
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "PATCH" in allowed.headers["Access-Control-Allow-Methods"]
    assert allowed.headers["Access-Control-Allow-Headers"].lower() == asked["Access-Control-Request-Headers"]
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    answer = client.send("GET", "/api/health", headers={"Origin": "https://app.example.com"})
    readable = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    # What the document says of answers, a front end must be able to read.
    # No script reads a cookie that is set; Vary is for caches, and Content-Language can be read from everywhere.
    others = {"Content-Language", "Set-Cookie", "Vary"}
    assert readable >= set(document.spec["components"]["headers"]) - others
    other = client.send("GET", "/api/health", headers={"Origin": "https://evil.example.com"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_by_default_no_front_end_elsewhere_is_allowed(anonymous: Client) -> None:
    answer = anonymous.send("GET", "/api/health", headers={"Origin": "https://app.example.com"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_limit_does_not_unlock(build_app: Build, document: Document, sign_in: SignIn) -> None:
    """A lockout is in the database: it holds whatever counts the requests."""
    user = sign_in(role=Role.USER).user
    for app in itertools.repeat(build_app(), 5):
        body = {"username": user.username, "password": "wrong"}
        Client(app, document).call("POST", "/api/auth/login", json=body, expect=401)
    body = {"username": user.username, "password": PASSWORD}
    Client(build_app(), document).call("POST", "/api/auth/login", json=body, expect=401)
