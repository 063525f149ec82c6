"""The canonical forms of structured text: each brings a text into its form, or says what is wrong with it."""

import re
import unicodedata

from app.core.net.urls import parse_http_url


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
    if not text.isascii() and _may_look_alike(text):
        raise ValueError("May not mix scripts or have full-width letters: it would look like another name.")
    return text


def _may_look_alike(text: str) -> bool:
    """Whether a name has compatibility forms (full-width), or Cyrillic or Greek letters among others."""
    scripts = {unicodedata.name(character, "").split(" ")[0] for character in text if character.isalpha()}
    is_mixed = len(scripts) > 1 and not scripts.isdisjoint({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
    return is_mixed or unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text)
