"""The HTTP client against servers that misbehave and names that resolve to private addresses."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import trustme

from app.core.addresses import is_public, parse_address
from app.core.errors import TooManyRequests
from app.core.net import http_client
from app.core.net.address_policy import AddressPolicy, parse_policy
from app.core.net.http_client import (
    HttpResponse,
    RequestFailed,
    RequestRefused,
    RequestTimedOut,
    ResponseTooLarge,
    fetch,
)
from app.core.net.urls import parse_http_url
from tests.http_servers import Behaviour, Server, drips, floods, hangs, response, sends
from tests.threads import TIMEOUT_SECONDS

LOCAL = parse_policy(("127.0.0.0/8", "::1"))


def get(
    url: str, *, policy: AddressPolicy = LOCAL, seconds: float = TIMEOUT_SECONDS, limit: int = 10_000
) -> HttpResponse:
    return fetch(url, policy=policy, timeout_seconds=seconds, max_bytes=limit)


def get_from(behave: Behaviour, **options: Any) -> HttpResponse:
    with Server(behave).listening() as port:
        return get(f"http://127.0.0.1:{port}/", **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and the addresses that they resolve to, one after the other; the last is repeated."""
    names: dict[str, list[str]] = {}
    look_up = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, flags: int = 0, **kwargs: Any) -> Any:
        if host not in names or flags & socket.AI_NUMERICHOST:
            return look_up(host, port, *args, flags=flags, **kwargs)
        address = names[host].pop(0) if len(names[host]) > 1 else names[host][0]
        return look_up(address, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that the client trusts."""
    authority = trustme.CA()
    context = http_client.ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(http_client, "tls_context", lambda: context)
    return authority


@pytest.fixture
def secured(authority: trustme.CA) -> Callable[[str], Server]:
    """A server with a certificate for this name."""

    def secured(name: str) -> Server:
        context = http_client.ssl.create_default_context(http_client.ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        return Server(sends(response(b"secret")), tls=context)

    return secured


IANA_SPECIAL_PURPOSE = (
    # https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32",
    "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32",
    "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "255.255.255.255/32", "224.0.0.0/4",
    # https://www.iana.org/assignments/iana-ipv6-special-registry but 64:ff9b::/96, and multicast
    "::1/128", "::/128", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32",
    "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48",
    "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10", "ff00::/8",
)  # fmt: skip


@pytest.mark.parametrize("text", IANA_SPECIAL_PURPOSE)
def test_special_purpose_network_is_not_public(text: str) -> None:
    network = ip_network(text)
    assert not is_public(network[0])
    assert not is_public(network[-1])
    if network.version == 4:
        assert not is_public(ip_address(f"64:ff9b::{network[-1]}"))


@pytest.mark.parametrize(
    "text",
    [
        *("1.0.0.0", "9.255.255.255", "192.0.1.0", "192.88.98.255", "192.88.100.0", "223.255.255.255"),
        *("2000::1", "2001:200::1", "2003::1", "2620:4f:7fff::1", "2620:4f:8001::1", "3ffe::1", "3fff:1000::1"),
    ],
)
def test_neighbour_of_a_special_purpose_network_is_public(text: str) -> None:
    assert is_public(ip_address(text))


PUBLIC = ("93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:93.184.216.34")
NOT_PUBLIC = (
    "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.8.9.10", "169.254.169.254", "172.16.0.1",
    "192.168.1.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::10.1.2.3", "::ffff:10.1.2.3", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a01:203",
    "64:ff9b::7f00:1", "64:ff9b:1::5db8:d822", "100::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
    "2002:a01:203::1", "2002:5db8:d822::1", "fc00::1", "fd00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
)  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_address_is_allowed(text: str) -> None:
    address = parse_address(text)
    assert AddressPolicy().allows("example.com", address)


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_other_address_is_not_allowed(text: str) -> None:
    address = parse_address(text)
    assert not is_public(address)
    assert not AddressPolicy().allows("example.com", address)


def test_operator_allows_networks_addresses_and_names() -> None:
    policy = parse_policy(("10.0.0.0/8", "fd00::/8", "192.168.1.1", "metrics.internal"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "192.168.1.1"):
        assert policy.allows("any.example", parse_address(address))
    for address in ("192.168.1.2", "64:ff9b::a01:203", "2002:a01:203::1"):
        assert not policy.allows("any.example", ip_address(address))
    assert policy.allows("Metrics.Internal", ip_address("127.0.0.1"))
    assert not policy.allows("metrics.internal.evil.example", ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_nothing_is_sent_to_an_address_that_is_not_allowed(host: str) -> None:
    server = Server(sends(response()))
    with server.listening() as port, pytest.raises(RequestRefused, match="OUTGOING_ALLOWED"):
        get(f"http://{host}:{port}/", policy=AddressPolicy())
    assert not server.contacted.is_set()


def test_connects_to_the_address_that_was_checked(names: dict[str, list[str]]) -> None:
    """DNS rebinding: the second answer of the name server is an address that is not allowed."""
    server = Server(sends(response(b"outside")))
    with server.listening("127.0.0.1") as port:
        names["rebind.example"] = ["127.0.0.1", "127.0.0.2"]
        answer = get(f"http://rebind.example:{port}/path?q=1", policy=parse_policy(("127.0.0.1",)))
    assert answer.content == b"outside"
    assert names["rebind.example"] == ["127.0.0.2"], "The name was resolved more than once."
    (request,) = server.received
    assert (request.target, request.headers["Host"]) == ("/path?q=1", f"rebind.example:{port}")


def test_only_allowed_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(sends(response(b"yes")))
    with server.listening("127.0.0.2") as port:
        entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in ("127.0.0.1", "127.0.0.2")]
        monkeypatch.setattr(http_client, "_look_up", lambda *_: entries)
        assert get(f"http://both.example:{port}/", policy=parse_policy(("127.0.0.2",))).content == b"yes"


@pytest.mark.parametrize(
    "url",
    [
        "", "/path", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "http://", "http:///path",
        "http://user@example.com/", "http://user:pass@example.com/", "http://:@example.com/", "http://exa mple.com/",
        "http://example.com/\r\nHost: inside", "http://example.com/\x00", "http://example.com\\@inside/", "http://[::1",
        "http://example.com:99999/", "http://example.com:0/", "http://[fe80::1%25eth0]/", "http://example.com/\x7f",
        "http://example.com/\x85", "http://" + "a." * 127 + "example/",
    ],
)  # fmt: skip
def test_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(RequestRefused):
        get(url)


def test_url_is_normalised() -> None:
    assert parse_http_url("http://bücher.example/").host == "xn--bcher-kva.example"
    server = Server(sends(response()))
    with server.listening("::1") as port:
        get(f"HTTP://[::0:1]:{port}/%7Ea/ü?q=ä#part")
    (request,) = server.received
    assert (request.target, request.headers["Host"]) == ("/~a/%C3%BC?q=%C3%A4", f"[::0:1]:{port}")


def test_unknown_name_cannot_be_resolved() -> None:
    with pytest.raises(RequestFailed, match=r"no\.such\.host\.invalid cannot be resolved"):
        get("http://no.such.host.invalid/")


def test_response_is_returned_whatever_its_status() -> None:
    assert get_from(sends(response(b"body", "418 Odd"))) == HttpResponse(418, b"body")


def test_response_may_end_with_the_connection_or_come_in_chunks() -> None:
    assert get_from(sends(b"HTTP/1.0 200 OK\r\n\r\nall of it")).content == b"all of it"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n1\r\n!\r\n0\r\n\r\n"
    assert get_from(sends(chunks)).content == b"all!"


def test_body_is_sent() -> None:
    server = Server(sends(response()))
    with server.listening() as port:
        url, body = f"http://127.0.0.1:{port}/", b"x" * 300_000
        headers = {"Content-Type": "text/plain"}
        fetch(
            url, policy=LOCAL, timeout_seconds=TIMEOUT_SECONDS, max_bytes=1, method="POST", headers=headers, body=body
        )
    (request,) = server.received
    assert (request.method, request.body, request.headers["Content-Type"]) == ("POST", body, "text/plain")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_redirect_is_not_followed(status: str) -> None:
    other = Server(sends(response()))
    with other.listening() as port:
        answer = get_from(sends(response(status=status, Location=f"http://127.0.0.1:{port}/")))
    assert answer.status == int(status[:3])
    assert not other.contacted.is_set()


def test_content_of_a_redirect_is_not_read_beyond_the_limit() -> None:
    def redirect(server: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n")
        while not server.released.is_set():
            connection.sendall(b" " * 65536)

    assert get_from(redirect, limit=0).status == 302
    with pytest.raises(ResponseTooLarge):
        get_from(redirect)


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Server(sends(response(b"proxy")))
    with proxy.listening() as port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert get_from(sends(response(b"direct"))).content == b"direct"
    assert not proxy.contacted.is_set()


@pytest.mark.parametrize(
    "behave",
    [
        hangs,
        drips(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        drips(response(b"x" * 10_000)),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000),
    ],
    ids=["hangs", "drips headers", "drips continues", "drips a body", "drips chunks"],
)
def test_slow_response_times_out(behave: Behaviour) -> None:
    begun = time.monotonic()
    with pytest.raises(RequestTimedOut, match=r"within 0\.4 seconds"):
        get_from(behave, seconds=0.4)
    assert time.monotonic() - begun < TIMEOUT_SECONDS / 2


def test_server_that_does_not_read_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(RequestTimedOut):
            fetch(url, policy=LOCAL, timeout_seconds=0.4, max_bytes=1, method="POST", body=b"x" * 50_000_000)


def test_slow_tls_handshake_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.4)
    # The header of a TLS record that never ends.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"\x16\x03\x03\x40\x00")
                while not stop.wait(0.05):
                    connection.sendall(b"\x00")

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(RequestFailed):
            get(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        stop.set()
        thread.join()


def test_slow_name_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(_host: str, *_: Any, flags: int = 0, **__: Any) -> Any:
        if flags:
            raise socket.gaierror
        released.wait(TIMEOUT_SECONDS)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.2)
    try:
        with pytest.raises(RequestTimedOut, match="not resolved"):
            get("http://slow.example/")
    finally:
        released.set()


@pytest.mark.parametrize("behave", [floods, sends(response(b"x" * 10_001))], ids=["without end", "one byte more"])
def test_response_size_is_limited(behave: Behaviour) -> None:
    with pytest.raises(ResponseTooLarge, match="10000 bytes"):
        get_from(behave)
    assert get_from(sends(response(b"x" * 10_000))).content == b"x" * 10_000


def test_size_limit_counts_decoded_bytes() -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    with pytest.raises(ResponseTooLarge):
        get_from(sends(response(bomb, Content_Encoding="gzip, gzip")))
    small = response(gzip.compress(b"plain"), Content_Encoding="gzip")
    assert get_from(sends(small)).content == b"plain"


def test_content_is_not_read_with_a_limit_of_0() -> None:
    assert get_from(floods, limit=0) == HttpResponse(200, b"")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02\x03" * 100,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"<html>no head</html>",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nContent-Encoding: gzip\r\n\r\nno gzip",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ],
)
def test_garbage_is_a_failed_request(content: bytes) -> None:
    with pytest.raises(RequestFailed) as caught:
        get_from(sends(content))
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")


def test_control_characters_of_a_response_are_dropped() -> None:
    odd = b"HTTP/1.1 200 \x1b[31mred\x07\r\nX-Odd: a\x1b\x00b\r\nContent-Length: 2\r\n\r\nok"
    assert get_from(sends(odd)) == HttpResponse(200, b"ok")


def test_closed_port_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(RequestFailed, match="cannot be reached"):
        get(f"http://127.0.0.1:{port}/")


def test_certificate_is_verified_for_the_name(secured: Callable[[str], Server], names: dict[str, list[str]]) -> None:
    names["good.example"] = ["127.0.0.1"]
    server = secured("good.example")
    with server.listening() as port:
        assert get(f"https://good.example:{port}/").content == b"secret"
    assert server.sni_names == ["good.example"]
    assert server.received[0].headers["Host"] == f"good.example:{port}"


def test_certificate_is_verified_for_an_address(secured: Callable[[str], Server]) -> None:
    with secured("127.0.0.1").listening() as port:
        assert get(f"https://127.0.0.1:{port}/").content == b"secret"


def test_certificate_of_another_name_is_refused(secured: Callable[[str], Server], names: dict[str, list[str]]) -> None:
    names["good.example"] = ["127.0.0.1"]
    server = secured("evil.example")
    with server.listening() as port, pytest.raises(RequestFailed, match=r"certificate of good\.example is not valid"):
        get(f"https://good.example:{port}/")
    assert server.received == []


def test_certificate_of_an_unknown_authority_is_refused() -> None:
    context = http_client.ssl.create_default_context(http_client.ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Server(sends(response()), tls=context).listening() as port, pytest.raises(RequestFailed, match="certificate"):
        get(f"https://127.0.0.1:{port}/")


def test_server_without_tls_is_a_failed_request() -> None:
    with Server(sends(response())).listening() as port, pytest.raises(RequestFailed):
        get(f"https://127.0.0.1:{port}/", seconds=1)


def test_concurrent_requests_are_limited() -> None:
    def hold(count: int) -> Iterator[None]:
        if count:
            with http_client.request_slot():
                yield from hold(count - 1)
        else:
            yield

    for _ in hold(4):
        with pytest.raises(TooManyRequests), http_client.request_slot():
            pass
    with http_client.request_slot():
        pass
