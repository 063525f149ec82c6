"""The URLs that the platform sends requests to: http and https, without credentials."""

import re
from typing import cast

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

MAX_HOST_CHARS = 253

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\]")


class InvalidUrl(ValueError):
    """The message is one sentence that may be shown to users."""


def parse_http_url(text: str) -> Url:
    """The normalised parts of an http or https URL; raises InvalidUrl."""
    if _UNSAFE.search(text):
        raise InvalidUrl("The URL may not contain spaces, backslashes and control characters.")
    try:
        url = parse_url(text)
    except (LocationParseError, UnicodeError):
        raise InvalidUrl("The URL is not valid.") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidUrl("The URL must begin with http:// or https:// and name a host.")
    if url.auth is not None:
        raise InvalidUrl("The URL may not contain a user or a password.")
    if "%" in url.host or len(url.host) > MAX_HOST_CHARS or url.port == 0:
        raise InvalidUrl("The URL is not valid.")
    return url


def host_of(text: str) -> str:
    """The host of a URL as an address policy compares it: without the brackets of IPv6; raises InvalidUrl."""
    return cast("str", parse_http_url(text).host).strip("[]")
