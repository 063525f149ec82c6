"""IP and MAC addresses: canonical forms, the order of IP addresses, the network of one client, what is public."""

import functools
import ipaddress
import re

from app.core.messages import tr

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL_PURPOSE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
        ),
    )
)
"""All networks of the IANA IPv4 and IPv6 Special-Purpose Address Registries, and multicast.

Of IPv6 only those within global unicast; is_public refuses everything else. `is_global` would follow the edition of the
registries that a Python release knows, and 3.11 calls 192.88.99.0/24 and 3fff::/20 global.
"""
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
"""The only form of an IPv4 address; the library takes ten times as long to recognise it."""
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_MAC_BYTES = (6, 8, 20)
"""Ethernet, EUI-64 and InfiniBand."""
_MAC_SEPARATORS = re.compile(r"[:.\-\s]")

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that a translator connects to."""


def parse_address(text: str) -> Address:
    """The address in a text; an IPv4 address that is mapped into IPv6 is unwrapped. Raises ValueError.

    Python 3.11 calls neither ::ffff:127.0.0.1 loopback nor ::ffff:10.0.0.1 a part of 10.0.0.0/8.
    """
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address in its shortest form; an IPv4 address that is mapped into IPv6 is unwrapped."""
    if _IPV4.fullmatch(text):
        return text
    try:
        address = parse_address(text)
    except ValueError:
        raise ValueError(tr("Must be an IPv4 or IPv6 address.", rule="format")) from None
    if "%" in text:
        raise ValueError(tr("Must be an address without a zone.", rule="format"))
    return str(address)


def mac_address(text: str) -> str:
    """A hardware address as lower-case pairs with colons, from any of the usual notations."""
    digits = mac_digits(text)
    if len(digits) // 2 not in _MAC_BYTES or len(digits) % 2 or not re.fullmatch(r"[0-9a-f]+", digits):
        raise ValueError(tr("Must be a MAC address such as 00:1b:44:11:3a:b7.", rule="format"))
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def mac_digits(text: str) -> str:
    """The digits of a hardware address, or of a part of one, without what separates them."""
    return _MAC_SEPARATORS.sub("", text).lower()


def parse_network(text: str) -> Network:
    """A network in CIDR notation, or an address as the network of itself; host bits do not count. Raises ValueError."""
    if "%" in text:
        raise ValueError(tr("A network has no zone.", rule="format"))
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network


def address_key(text: str | None) -> str | None:
    """A text whose order is that of the addresses: the version, then each byte in three digits. None for no address.

    Digits sort alike under every collation. `address_key` in SQL gives the same for canonical addresses: SQLite calls
    this one, PostgreSQL has it as a function (migrations/dialects).
    """
    if text is None:
        return None
    if _IPV4.fullmatch(text):
        return "4" + "".join(octet.zfill(3) for octet in text.split("."))
    try:
        return key_of_address(parse_address(text))
    except ValueError:
        return None


def key_of_address(address: Address) -> str:
    """The `address_key` of a parsed address."""
    return f"{address.version}" + "".join(f"{byte:03}" for byte in address.packed)


def forwarded_address(text: str) -> Address:
    """The address that a proxy names in X-Forwarded-For, some with a port behind it. Raises ValueError."""
    with_port = _WITH_PORT.fullmatch(text)
    return parse_address(with_port[1] or with_port[2] if with_port else text)


@functools.lru_cache(maxsize=4096)
def client_network(text: str) -> str:
    """The addresses that one client can choose from: an IPv4 address, or the /64 of an IPv6 address.

    A text that is no address, such as a proxy may forward, stays as it is.
    """
    try:
        address = forwarded_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address.packed, 64), strict=False))


def is_public(address: Address) -> bool:
    """Whether an address is reachable on the internet, and does not lead to one that is not.

    Of the IPv6 addresses that contain an IPv4 address, only NAT64 is in use: hosts without IPv4 need it. 6to4 and
    Teredo are deprecated, and never public here.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_UNICAST or address.scope_id is not None:
            return False
    return not any(address in network for network in _SPECIAL_PURPOSE)
