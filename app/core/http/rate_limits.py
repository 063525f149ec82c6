"""How often somebody may ask: logins by address, everything else by token; counted in Redis, or in the process."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, Response, g, request
from limits import parse
from limits.storage import Storage, storage_from_string

from app.core.cache import redis_client
from app.core.errors import TooManyRequests
from app.core.http.rate_limiter import Allowances
from app.core.net.addresses import client_network

V = TypeVar("V", bound=Callable[..., Any])

HEADERS = {
    "RateLimit-Limit": "How many requests the current window allows.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the next window.",
}


def limited_by_address(view: V) -> V:
    """Count a view by the address of whoever calls it, under LOGIN_LIMIT: it costs a password hash."""
    view.is_limited_by_address = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    options = {**redis_client.OPTIONS, "key_prefix": f"{app.config['REDIS_PREFIX']}:limits"} if url else {}
    storage = cast(Storage, storage_from_string(url or "memory://", **options))
    logins = Allowances(parse(app.config["LOGIN_LIMIT"]), storage, block=1)
    requests = Allowances(parse(app.config["API_LIMIT"]), storage)

    def count() -> None:
        view = app.view_functions.get(request.endpoint or "")
        if getattr(view, "is_limited_by_address", False):
            g.allowance = logins.take(f"login:{_address()}")
        else:
            g.allowance = requests.take(_caller())
        if not g.allowance.is_admitted:
            raise TooManyRequests()

    def tell(response: Response) -> Response:
        if "allowance" in g:
            seconds = str(max(1, math.ceil(g.allowance.ends_at - time.time())))
            response.headers["RateLimit-Limit"] = str(g.allowance.limit)
            response.headers["RateLimit-Remaining"] = str(g.allowance.remaining)
            response.headers["RateLimit-Reset"] = seconds
            if not g.allowance.is_admitted:
                response.headers["Retry-After"] = seconds
        return response

    app.before_request(count)
    app.after_request(tell)


def _address() -> str:
    """The client's network: a client with an IPv6 /64 must not get a limit for each of its addresses."""
    return client_network(request.remote_addr or "")


def _caller() -> str:
    """Whose requests are counted together; secrets do not become keys that others may list."""
    token = request.headers.get("Authorization")
    if token is None:
        return f"anonymous:{_address()}"
    return f"token:{hashlib.sha256(token.encode(errors='replace')).hexdigest()[:32]}"
