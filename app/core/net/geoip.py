"""GeoIP: the kind of network of an address, and its place if the operator supplies a database."""

from typing import Any

import maxminddb
import structlog
from flask import Flask, current_app

from app.core.addresses import parse_address
from app.core.messages import Term

log = structlog.get_logger()

EXTENSION = "geoip"


def init_app(app: Flask) -> None:
    path = app.config["GEOIP_DATABASE"]
    try:
        app.extensions[EXTENSION] = maxminddb.open_database(path) if path else None
    except maxminddb.InvalidDatabaseError as error:
        # The platform works without places.
        log.error("geoip_database_invalid", error=str(error))
        app.extensions[EXTENSION] = None


def kind_of_network(text: str) -> Term:
    """The kind of network that an address belongs to, for a mail."""
    address = parse_address(text)
    if address.is_loopback:
        return Term("this machine", "本机")
    if address.is_link_local:
        return Term("the same network segment", "同一网段")
    if address.is_private:
        return Term("a private network", "专用网络")
    return Term("the internet", "互联网")


def place_of(text: str) -> str | None:
    """City and country of an address, as far as GEOIP_DATABASE has them."""
    reader = current_app.extensions[EXTENSION]
    try:
        record: Any = reader and reader.get(str(parse_address(text)))
    except (ValueError, maxminddb.InvalidDatabaseError) as error:
        # The database contains IPv4 only, or is damaged.
        log.warning("geoip_lookup_failed", error=str(error))
        return None
    if not isinstance(record, dict):
        return None
    names = [record.get(part, {}).get("names", {}).get("en") for part in ("city", "country")]
    return ", ".join(name for name in names if name) or None
