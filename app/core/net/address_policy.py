"""The addresses that outgoing requests may reach: public ones, and those that the operator allows.

Without it, users who enter a URL could reach the platform's own network (server-side request forgery, CWE-918). The
address that a name resolves to decides, not its spelling.
"""

import functools
import ipaddress
from dataclasses import dataclass, replace

from app.core.addresses import Address, Network, is_public


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Networks, and hosts by their exact names, that are allowed in addition to public addresses."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    def with_host(self, host: str) -> "AddressPolicy":
        return replace(self, hosts=self.hosts | {host.lower()})

    def allows(self, host: str, address: Address) -> bool:
        """Whether a request to `host` may go to `address`, which the name was resolved to."""
        if host.lower() in self.hosts or is_public(address):
            return True
        return any(address.version == network.version and address in network for network in self.networks)


@functools.lru_cache(maxsize=16)
def parse_policy(entries: tuple[str, ...]) -> AddressPolicy:
    """The policy that the entries of the setting OUTGOING_ALLOWED describe."""
    networks: list[Network] = []
    hosts: list[str] = []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            hosts.append(entry.lower())
    return AddressPolicy(tuple(networks), frozenset(hosts))
