"""Where an address is: the kind of its network, and its place where the operator supplies a database."""

import ipaddress
from typing import Any

import maxminddb
import structlog
from flask import Flask, current_app

log = structlog.get_logger()

KEY = "places"


def kind_of_network(address: str) -> str:
    """What sort of network an address belongs to, in words for a person."""
    parsed = unmapped(address)
    if parsed.is_loopback:
        return "this machine"
    if parsed.is_link_local:
        return "the same network segment"
    if parsed.is_private:
        return "a private network"
    return "the internet"


def place_of(address: str) -> str | None:
    """City and country of an address, as far as GEOIP_DATABASE knows it."""
    reader = current_app.extensions[KEY]
    try:
        found: Any = reader and reader.get(str(unmapped(address)))
    except (ValueError, maxminddb.InvalidDatabaseError) as error:
        # An IPv6 address in a database of IPv4, or a damaged file.
        log.warning("place_unknown", error=str(error))
        return None
    if not isinstance(found, dict):
        return None
    names = [found.get(part, {}).get("names", {}).get("en") for part in ("city", "country")]
    return ", ".join(name for name in names if name) or None


def unmapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address; one that is mapped into IPv6 is the IPv4 address that it means."""
    parsed = ipaddress.ip_address(address)
    return getattr(parsed, "ipv4_mapped", None) or parsed


def init_app(app: Flask) -> None:
    path = app.config["GEOIP_DATABASE"]
    try:
        app.extensions[KEY] = maxminddb.open_database(path) if path else None
    except maxminddb.InvalidDatabaseError as error:
        # Without places the platform is poorer, not broken.
        log.error("places_unknown", error=str(error))
        app.extensions[KEY] = None
