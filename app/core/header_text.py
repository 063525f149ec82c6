"""Text in HTTP headers: percent-encoded UTF-8, because servers pass on ASCII only.

granian's WSGI interface hands over a header value with any other byte as an empty text. (Its ASGI interface gives the
raw bytes, its RSGI interface leaves the header out.)
"""

import functools
import re
from urllib.parse import unquote_to_bytes

from app.core.messages import tr
from app.core.values import clean_text

UNREADABLE = "(not ASCII)"
"""Stands for a descriptive header that was sent and cannot be read."""

_EXTENDED = re.compile(r"utf-8'[a-z0-9-]*'(.*)", re.IGNORECASE | re.DOTALL)
_WHITE_SPACE = re.compile(r"[\t\n\v\f\r]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_sentence(text: str) -> str:
    """A header that a person wrote, decoded; raises ValueError with a sentence if it cannot be read."""
    # Repeated headers arrive joined by commas, an unreadable one of them as an empty text.
    if not text or text != text.strip(","):
        raise ValueError(tr("Is empty or has bytes that are not ASCII; percent-encode its UTF-8."))
    return decoded(text)


def one_line(text: str, length: int) -> str:
    """A text of one line, trimmed; raises ValueError with a sentence if it is empty or too long, or has controls."""
    text = _WHITE_SPACE.sub(" ", clean_text(text)).strip()
    if _CONTROL.search(text):
        raise ValueError(tr("May not contain control characters.", rule="characters"))
    if not text:
        raise ValueError(tr("May not be empty.", rule="required"))
    if len(text) > length:
        raise ValueError(
            tr("May have at most {length} characters; it has {count}.", rule="length", length=length, count=len(text))
        )
    return text


@functools.lru_cache(maxsize=1024)
def read_description(text: str, length: int) -> str:
    """What a client's software says of itself: as much of it as can be read, marked where that is not all."""
    if not text:
        return UNREADABLE
    try:
        text = decoded(text)
    except ValueError:
        # Not percent-encoded, so its percent signs are meant as such.
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def decoded(text: str) -> str:
    """A header's value as text: RFC 8187 (`UTF-8''Ger%C3%A4t`), percent-encoded UTF-8, or the raw UTF-8 of a server
    that passes it on. A percent sign before anything but two hexadecimal digits is one.

    Raises ValueError if the bytes are not UTF-8.
    """
    if extended := _EXTENDED.fullmatch(text):
        text = extended[1]
    try:
        # WSGI holds the bytes of a header as Latin-1.
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeError:
        raise ValueError(tr("Is not valid UTF-8; percent-encode its UTF-8, and a percent sign as %25.")) from None
