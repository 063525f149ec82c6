"""The client of every outgoing HTTP request: `requests`, with an adapter that guards connections.

The adapter resolves a name once and connects to exactly the address that the policy allowed, so a name server that
changes its answer (DNS rebinding) gains nothing. A deadline covers the whole exchange, the size of a response is
limited, and neither redirects nor the environment's proxies are followed.
"""

import functools
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotResolvedInTime
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any, cast

import requests
from flask import current_app
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Url

from app.core.addresses import Address, parse_address
from app.core.errors import TooManyRequests
from app.core.messages import tr
from app.core.net.address_policy import AddressPolicy, parse_policy
from app.core.net.deadlines import Deadline, DeadlineSocket
from app.core.net.urls import InvalidUrl, parse_http_url

CONNECT_SECONDS = 2.0
"""To resolve the name and to connect, with TLS."""
CHUNK_BYTES = 64 * 1024
CONCURRENT_REQUESTS = 4
HEADERS = {"User-Agent": "itam/1", "Accept-Encoding": "identity", "Connection": "close"}

# getaddrinfo() cannot be interrupted: a thread waits for it, and the request gives up in time.
_resolvers = ThreadPoolExecutor(32, thread_name_prefix="resolve")
_slots = BoundedSemaphore(CONCURRENT_REQUESTS)


class RequestFailed(Exception):
    """There is no response; the message is one sentence that may be shown to users."""


class RequestRefused(RequestFailed):
    """Nothing was sent: the URL is not valid, or the policy does not allow its addresses."""


class RequestTimedOut(RequestFailed):
    """The deadline passed before the response was complete."""


class ResponseTooLarge(RequestFailed):
    """The decoded content has more bytes than the caller takes."""


class Busy(TooManyRequests):
    reason, message = "busy", tr("Too many requests wait for other servers. Please try again shortly.")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The response of a server, whatever its status."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By name, in any case."""


def configured_policy() -> AddressPolicy:
    """The policy of this installation."""
    return parse_policy(current_app.config["OUTGOING_ALLOWED"])


@contextmanager
def request_slot() -> Iterator[None]:
    """Limit the outgoing requests that requests of ours wait for; raises TooManyRequests.

    Servers that hang must not occupy every thread that serves requests.
    """
    if not _slots.acquire(blocking=False):
        raise Busy(headers={"Retry-After": "2"})
    try:
        yield
    finally:
        _slots.release()


def fetch(
    url: str,
    *,
    policy: AddressPolicy,
    timeout_seconds: float,
    max_bytes: int,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> HttpResponse:
    """Send a request and return its response within `timeout_seconds`, from resolving the name to the last byte.

    The decoded content has `max_bytes` at most; with 0, it is not read. Raises RequestFailed.
    """
    deadline = Deadline.after(timeout_seconds)
    try:
        target = parse_http_url(url)
    except InvalidUrl as error:
        raise RequestRefused(str(error)) from None
    try:
        with (
            GuardedSession(target, policy, deadline) as session,
            session.request(method, target.url, headers=headers, data=body, stream=True) as response,
        ):
            content = _read(response, max_bytes) if max_bytes else b""
            return HttpResponse(response.status_code, content, response.headers)
    except (OSError, HTTPError, ValueError) as error:  # a RequestException is an OSError
        if deadline.has_passed or isinstance(error, requests.Timeout):
            raise RequestTimedOut(f"There was no complete answer within {timeout_seconds:g} seconds.") from None
        raise RequestFailed(f"{target.host} gave no complete answer in HTTP.") from None


def _read(response: requests.Response, max_bytes: int) -> bytes:
    content = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > max_bytes:
            raise ResponseTooLarge(f"The answer has more than {max_bytes} bytes.")
    return bytes(content)


class GuardedSession(requests.Session):
    """A session for one request; it follows no redirect and ignores proxies and credentials of the environment."""

    def __init__(self, url: Url, policy: AddressPolicy, deadline: Deadline) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.update(HEADERS)
        self.mount(f"{url.scheme}://", GuardedAdapter(url, policy, deadline))

    def get_redirect_target(self, resp: requests.Response) -> None:
        # allow_redirects=False would still read the whole content of a redirect, of any size.
        return None


class GuardedAdapter(HTTPAdapter):
    """A transport with one connection, to an address that the policy allows, until the deadline."""

    def __init__(self, url: Url, policy: AddressPolicy, deadline: Deadline) -> None:
        super().__init__()
        assert url.host is not None
        guard: dict[str, Any] = {"policy": policy, "deadline": deadline}
        if url.scheme == "https":
            self._pool: HTTPConnectionPool = GuardedHTTPSPool(url.host, url.port, ssl_context=tls_context(), **guard)
        else:
            self._pool = GuardedHTTPPool(url.host, url.port, **guard)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *_: Any) -> None:
        """Do nothing: tls_context() verifies certificates, with the authorities of this machine and not certifi's."""

    def close(self) -> None:
        super().close()
        self._pool.close()


class GuardedHTTPConnection(HTTPConnection):
    """Replaces how a connection is made; below TLS, which verifies the name that was requested."""

    def __init__(self, *args: Any, policy: AddressPolicy, deadline: Deadline, **options: Any) -> None:
        super().__init__(*args, **options)
        self._policy = policy
        self._deadline = deadline
        self._connecting = deadline

    def connect(self) -> None:
        self._connecting = self._deadline.within(CONNECT_SECONDS)
        try:
            super().connect()
        except (HTTPError, OSError, ValueError) as error:
            raise _connect_error(self.host, error, self._connecting) from None
        # http.client uses no more of a socket than this has.
        self.sock = cast("socket.socket", DeadlineSocket(cast("socket.socket", self.sock), self._deadline))

    def _new_conn(self) -> socket.socket:
        """Connect to the first allowed address that answers; urllib3's SOCKS connection overrides this, too."""
        addresses = _resolve(self.host, self.port, self._policy, self._connecting)
        for address in addresses:
            try:
                connection = socket.create_connection((str(address), self.port), self._connecting.remaining)
            except OSError as error:
                last_error = error
            else:
                # The TLS handshake as a whole has what is left.
                connection.settimeout(self._connecting.remaining)
                return connection
        raise last_error


class GuardedHTTPSConnection(GuardedHTTPConnection, HTTPSConnection):
    pass


class GuardedHTTPPool(HTTPConnectionPool):
    ConnectionCls = GuardedHTTPConnection


class GuardedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = GuardedHTTPSConnection


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Verifies against the authorities that this machine trusts, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


def _resolve(host: str, port: int, policy: AddressPolicy, deadline: Deadline) -> list[Address]:
    """The addresses of a host that the policy allows, at least one; raises RequestFailed."""
    try:
        entries = _look_up(host, port, deadline)
        addresses = dict.fromkeys(parse_address(str(entry[4][0])) for entry in entries)
    except NotResolvedInTime:
        raise RequestTimedOut(f"The name {host} was not resolved within {deadline.seconds:g} seconds.") from None
    except (OSError, UnicodeError, ValueError):
        raise RequestFailed(f"The name {host} cannot be resolved.") from None
    allowed = [address for address in addresses if policy.allows(host, address)]
    if not allowed:
        raise RequestRefused(f"{host} has no public address; the operator can allow one with OUTGOING_ALLOWED.")
    return allowed


def _look_up(host: str, port: int, deadline: Deadline) -> list[Any]:
    try:
        # An address, in any spelling, does not wait behind names.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pending = _resolvers.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return pending.result(deadline.remaining)
    finally:
        pending.cancel()


def _connect_error(host: str, error: Exception, deadline: Deadline) -> RequestFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RequestFailed(f"The TLS certificate of {host} is not valid: {_printable(error.verify_message)}.")
    if isinstance(error, ssl.SSLError):
        return RequestFailed(f"{host} does not speak TLS as it should.")
    if deadline.has_passed or isinstance(error, TimeoutError):
        return RequestTimedOut(f"There was no connection to {host} within {deadline.seconds:g} seconds.")
    return RequestFailed(f"{host} cannot be reached: the connection was refused or broke off.")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).rstrip(".")[:200]
