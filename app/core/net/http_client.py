"""The one way out: HTTP requests to addresses that were judged first, within limits on time and size.

A name is resolved once, and the connection is made to an address that was judged, so a name server that changes its
answer gains nothing. Redirects are answers like any other, and no proxy of the environment is asked.
"""

import functools
import http.client
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, cast

from flask import current_app
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.response import HTTPResponse
from urllib3.util import parse_url

from app.core.errors import TooManyRequests
from app.core.net.address_policy import Address, Destinations, addresses_of, destinations
from app.core.net.deadlines import AT_ONCE, Clock, TimedSocket

CONNECT_SECONDS = 2.0
"""Seconds to resolve a name and to have a connection, TLS included."""
MAX_HOST = 253
AGENT = "itam/1"

_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# A resolver cannot be interrupted; whoever asks it waits no longer than he wants.
_resolvers = ThreadPoolExecutor(32, thread_name_prefix="resolve")
_waiting = BoundedSemaphore(4)
# What a server sends that is no HTTP would be a warning with a stack trace, as often as it likes.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class NoAnswer(Exception):
    """There is no answer; one sentence, safe to show, says why. `reason` is a stable slug."""

    reason = "no_answer"


class Refused(NoAnswer):
    """We did not even ask: the URL is none, or the operator does not admit where it leads."""

    reason = "refused"


class TimedOut(NoAnswer):
    reason = "timed_out"


class TooLong(NoAnswer):
    reason = "too_long"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL in parts, as it is sent."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The Host header: the name that was asked for, whatever address it leads to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(text: str) -> Url:
    """The parts of a URL that may be asked for; raises Refused."""
    if _UNSAFE.search(text):
        raise Refused("The URL may not contain spaces, backslashes and control characters.")
    try:
        parts = parse_url(text)
    except (LocationParseError, UnicodeError):
        raise Refused("The URL is not valid.") from None
    if parts.scheme not in _PORTS or not parts.host:
        raise Refused("The URL must begin with http:// or https:// and name a host.")
    if parts.auth is not None:
        raise Refused("The URL may not contain a user or a password.")
    host = parts.host.strip("[]")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    if "%" in host or len(host) > MAX_HOST or port == 0:
        raise Refused("The URL is not valid.")
    return Url(parts.scheme, host, port, parts.request_uri)


def allowed() -> Destinations:
    """Where the operator lets requests go beside the internet."""
    return destinations(current_app.config["OUTGOING_ALLOWED"])


@contextmanager
def waiting() -> Iterator[None]:
    """Let a request wait for somebody else's server, while few enough others do; raises TooManyRequests.

    The threads that serve requests are few: servers that hang must not have all of them.
    """
    if not _waiting.acquire(blocking=False):
        raise TooManyRequests(
            "Too many requests wait for other servers. Please try again shortly.",
            reason="busy",
            headers={"Retry-After": "2"},
        )
    try:
        yield
    finally:
        _waiting.release()


def fetch(
    url: str,
    *,
    admitted: Destinations,
    seconds: float,
    limit: int,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Ask a server, and wait `seconds` at most for all of it, however busily it drips.

    The answer's content is decoded and has `limit` bytes at most; with 0, nothing of it is read. Raises NoAnswer.
    """
    clock = Clock(time.monotonic() + seconds, seconds)
    where = read_url(url)
    patience = clock.first(CONNECT_SECONDS)
    connection = _connect(where, _resolve(where, admitted, patience), patience)
    wire = cast("socket.socket", connection.sock)
    # It is used for no more than what a timed one has.
    connection.sock = cast("socket.socket", TimedSocket(wire, clock))
    sent = {"Host": where.authority, "User-Agent": AGENT, "Connection": "close", **(headers or {})}
    try:
        connection.request(method, where.target, body=body, headers=sent, preload_content=False)
        response = connection.getresponse()
        return Answer(response.status, _read(response, limit) if limit else b"")
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        if clock.is_up or isinstance(error, TimeoutError):
            raise TimedOut(f"There was no complete answer within {seconds:g} seconds.") from None
        raise NoAnswer(f"{where.host} gave no complete answer in HTTP.") from None
    finally:
        wire.close()


def _resolve(url: Url, admitted: Destinations, patience: Clock) -> list[Address]:
    """The addresses of a host that may be asked; raises Refused where there are others only."""
    try:
        found = addresses_of(str(entry[4][0]) for entry in _look_up(url, patience))
    except NotInTime:
        raise TimedOut(f"The name {url.host} was not resolved within {patience.seconds:g} seconds.") from None
    except (OSError, UnicodeError, ValueError):
        raise NoAnswer(f"The name {url.host} cannot be resolved.") from None
    public = [address for address in found if admitted.admits(url.host, address)]
    if not public:
        raise Refused(f"{url.host} has no public address; the operator can admit it with OUTGOING_ALLOWED.")
    return public


def _look_up(url: Url, patience: Clock) -> list[Any]:
    try:
        # What is an address already, however it is spelt, does not wait behind names.
        return socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pending = _resolvers.submit(socket.getaddrinfo, url.host, url.port, type=socket.SOCK_STREAM)
    try:
        return pending.result(patience.left)
    finally:
        pending.cancel()


def _connect(url: Url, addresses: list[Address], patience: Clock) -> HTTPConnection:
    """A connection to the first of these addresses that takes one, verified for the name that was asked for."""
    problem: NoAnswer = NoAnswer(f"{url.host} cannot be reached.")
    for address in addresses:
        connection = _connection(url, str(address), patience.left)
        try:
            connection.connect()
        except (HTTPError, OSError, ValueError) as error:
            connection.close()
            problem = _not_connected(url, error, patience)
        else:
            return connection
    raise problem


def _connection(url: Url, address: str, seconds: float) -> HTTPConnection:
    if url.scheme == "http":
        return HTTPConnection(address, url.port, timeout=seconds)
    return HTTPSConnection(address, url.port, timeout=seconds, server_hostname=url.host, ssl_context=tls_context())


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Verifies against the authorities that this machine trusts, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


def _not_connected(url: Url, error: Exception, patience: Clock) -> NoAnswer:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswer(f"The TLS certificate of {url.host} is not valid: {_plain(error.verify_message)}.")
    if isinstance(error, ssl.SSLError):
        return NoAnswer(f"{url.host} does not speak TLS as it should.")
    if patience.is_up or isinstance(error, TimeoutError):
        return TimedOut(f"There was no connection to {url.host} within {patience.seconds:g} seconds.")
    return NoAnswer(f"{url.host} cannot be reached: the connection was refused or broke off.")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).rstrip(".")[:200]


def _read(response: HTTPResponse, limit: int) -> bytes:
    """The content, decoded; raises TooLong for one of more than `limit` bytes, however small it came."""
    content = bytearray()
    while len(content) <= limit:
        part = response.read(min(AT_ONCE, limit + 1 - len(content)), decode_content=True)
        if not part:
            return bytes(content)
        content += part
    raise TooLong(f"The answer has more than {limit} bytes.")
