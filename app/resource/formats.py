"""The canonical forms of structured text: each brings a text into its form, or says what is wrong with it."""

import re

from app.core.addresses import parse_address
from app.core.net.urls import parse_http_url

_MAC_BYTES = (6, 8, 20)
"""Ethernet, EUI-64 and InfiniBand."""


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
"""An IPv4 address has this one form; the library takes ten times as long to say so."""


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address in its shortest form; an IPv4 address that is mapped into IPv6 is unwrapped."""
    if _IPV4.fullmatch(text):
        return text
    try:
        address = parse_address(text)
    except ValueError:
        raise ValueError("Must be an IPv4 or IPv6 address.") from None
    if "%" in text:
        raise ValueError("Must be an address without a zone.")
    return str(address)


def mac_address(text: str) -> str:
    """A hardware address as lower-case pairs with colons, from any of the usual notations."""
    digits = re.sub(r"[:.\-\s]", "", text).lower()
    if len(digits) // 2 not in _MAC_BYTES or len(digits) % 2 or not re.fullmatch(r"[0-9a-f]+", digits):
        raise ValueError("Must be a MAC address such as 00:1b:44:11:3a:b7.")
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def color(text: str) -> str:
    """A colour as #rrggbb in lower case."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError("Must be a colour such as #1f77b4.")
    return text.lower()


def url_or_path(text: str) -> str:
    """An http or https URL without user and password, or a path that begins with a slash."""
    if not re.match(r"https?://|/", text, re.IGNORECASE):
        raise ValueError("Must be an http or https URL, or a path such as /health.")
    parse_http_url(f"http://server{text}" if text.startswith("/") else text)
    return text


def email(text: str) -> str:
    """An address with something on both sides of its one @, and no space."""
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError("Must be an e-mail address.")
    return text


def username(text: str) -> str:
    """Letters, digits and . _ - , so that a name can stand in a URL, a log line and a sheet."""
    if not re.fullmatch(r"[^\W_][\w.-]*", text):
        raise ValueError("May contain letters, digits, dots, underscores and hyphens only.")
    return text
