"""Which addresses we may send requests to: public ones, and those that the operator admits.

Whoever can make the platform send a request stands inside its network (server-side request forgery, CWE-918): what
a name resolves to is judged here, not how it is spelt.
"""

import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that a translator connects to."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """What is admitted beside public addresses: networks, and hosts by exactly the name that is asked for."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    def with_host(self, host: str) -> "Destinations":
        return replace(self, hosts=self.hosts | {host.lower()})

    def admits(self, host: str, address: Address) -> bool:
        """Whether a request that names `host` may go to `address`, which it has been resolved to."""
        if host.lower() in self.hosts or is_public(address):
            return True
        return any(address.version == network.version and address in network for network in self.networks)


@functools.lru_cache(maxsize=16)
def destinations(entries: tuple[str, ...]) -> Destinations:
    """What the entries of the setting OUTGOING_ALLOWED admit."""
    networks: list[Network] = []
    hosts: list[str] = []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            hosts.append(entry.lower())
    return Destinations(tuple(networks), frozenset(hosts))


def addresses_of(found: Iterable[str]) -> list[Address]:
    """Each address once, in its order; one that is mapped into IPv6 is the IPv4 address that it means."""
    addresses: dict[Address, None] = {}
    for text in found:
        address = ipaddress.ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        addresses[mapped or address] = None
    return list(addresses)


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, and not a way to one that is none.

    Of addresses with another one inside, only NAT64 is in use: hosts without IPv4 reach half of the internet by it.
    6to4 and Teredo, both deprecated, are never public here.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    tunnelled = address.sixtofour is not None or address.teredo is not None
    return address in _GLOBAL_UNICAST and address.is_global and not tunnelled and address.scope_id is None
