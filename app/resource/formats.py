"""The canonical forms of structured text: each brings a text into its form, or says what is wrong with it."""

import re
import unicodedata
from string import ascii_letters

from app.core.messages import tr
from app.core.net.urls import parse_http_url

MAX_LOCAL_CHARS, MAX_ADDRESS_CHARS = 64, 254
"""Of what stands before the @, and of the whole address (RFC 5321, with erratum 1690)."""
NO_MAIL = tr(
    "Mail cannot be sent to this address: before the @ stand ASCII letters, digits and signs, after it a domain.",
    rule="format",
)

_LATIN = frozenset(ascii_letters + "ßÆæŒœØøÐðÞþĐđŁłĦħŊŋ")
"""Latin letters without marks that resemble no other: not the dotless i, nor those of phonetic alphabets."""
_BESIDE_LATIN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"})
"""Scripts, by the first word in the names of their letters, that none of Latin resembles."""
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def color(text: str) -> str:
    """A colour as #rrggbb in lower case."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(tr("Must be a colour such as #1f77b4.", rule="format"))
    return text.lower()


def url_or_path(text: str) -> str:
    """An http or https URL without user and password, or a path that begins with a slash."""
    if not re.match(r"https?://|/", text, re.IGNORECASE):
        raise ValueError(tr("Must be an http or https URL, or a path such as /health.", rule="format"))
    parse_http_url(f"http://server{text}" if text.startswith("/") else text)
    return text


def email(text: str) -> str:
    """An address that mail can be sent to: a dot-atom of ASCII (RFC 5322), @, and a domain that IDNA can encode."""
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError(tr("Must be an e-mail address.", rule="format"))
    local, _, domain = text.partition("@")
    encoded = _encode_domain(domain)
    is_domain = re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", encoded, re.IGNORECASE)
    if not is_domain or not re.fullmatch(rf"{_ATOM}(\.{_ATOM})*", local, re.ASCII) or len(local) > MAX_LOCAL_CHARS:
        raise ValueError(NO_MAIL)
    if len(local) + 1 + len(encoded) > MAX_ADDRESS_CHARS:
        raise ValueError(NO_MAIL)
    return text


def _encode_domain(domain: str) -> str:
    """A domain in ASCII, as Flask-Mail encodes it; raises ValueError."""
    if domain.isascii():
        return domain
    try:
        encoded = domain[:MAX_ADDRESS_CHARS].encode("idna")
        named = encoded.decode("idna")
    except UnicodeError:
        raise ValueError(NO_MAIL) from None
    # IDNA 2003 makes strasse.de of straße.de, which is the domain of somebody else.
    if named != domain.lower():
        raise ValueError(
            tr(
                "Mail would go to another domain: write this one in its ASCII form, which begins with xn--.",
                rule="format",
            )
        )
    return encoded.decode()


def username(text: str) -> str:
    """Letters, digits and . _ - , so that a name can stand in a URL, a log line and a sheet."""
    if not re.fullmatch(r"[^\W_][\w.-]*", text):
        raise ValueError(tr("May contain letters, digits, dots, underscores and hyphens only.", rule="format"))
    if not text.isascii() and _may_look_alike(text):
        raise ValueError(
            tr(
                "May not mix scripts or have full-width, dotless or phonetic letters: it would look like another name.",
                rule="format",
            )
        )
    return text


def _may_look_alike(text: str) -> bool:
    """Whether a name has compatibility forms (full-width), letters that resemble those of ASCII, or mixed scripts.

    The scripts that may stand together are those of UTS 39, "highly restrictive": Latin with Chinese, Japanese, Korean.
    """
    composed = unicodedata.normalize("NFC", text)
    letters = {letter for letter in composed if letter.isalnum()}
    scripts = {re.split("[ -]", unicodedata.name(letter, ""))[0] for letter in letters if letter.isalpha()}
    scripts -= _BESIDE_LATIN
    if "LATIN" in scripts:
        # Also digits: some of other scripts resemble the letter o.
        digits = {letter for letter in letters if letter.isdecimal() and not letter.isascii()}
        latin = {letter for letter in letters if unicodedata.name(letter, "").startswith("LATIN")}
        # Of a letter with marks, the one that carries them.
        plain = {unicodedata.normalize("NFD", letter)[0] for letter in latin}
        if any(not letter.isascii() for letter in latin - {"ı"}):
            # A Turkish name such as `ışıl` resembles none of ASCII.
            plain.discard("ı")
        if digits or plain - _LATIN:
            return True
    return len(scripts) > 1 or unicodedata.normalize("NFKC", text) != composed
