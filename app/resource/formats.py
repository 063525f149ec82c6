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
_LIKE_ASCII = frozenset(
    "ͿΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγινορσυϜϨϳϺЅІЈАВЕЗКМНОРСТУХЬабгеорсухѕіјѡѴѵҮүһҽӀӏӠԁԌԛԜԝՍՏՕագզհոռսցքօ۱۵۷०০৪৭੦੧੪૦ଠ୦୨௦౦೦ഠ൦൭๐໐ဝ၀"
    "ყჿ\u1200\u12d0\u13a0\u13a1\u13a2\u13a5\u13a9\u13aa\u13ab\u13ac\u13b3\u13b7\u13bb\u13bd\u13c0\u13c2\u13c3"
    "\u13ce\u13cf\u13d2\u13d4\u13d5\u13d9\u13da\u13de\u13df\u13e2\u13e6\u13e7\u13ee\u13f3\u13f4\u142f\u144c\u146d"
    "\u146f\u1472\u148d\u14aa\u14bf\u1541\u157c\u157d\u1587\u15af\u15b4\u15c5\u15de\u15ea\u15f0\u15f7\u16b7\u16c1"
    "\u16d5\u16d6\u1d26\u2c85\u2c8e\u2c92\u2c94\u2c98\u2c9a\u2c9e\u2c9f\u2ca2\u2ca3\u2ca4\u2ca5\u2ca6\u2ca8\u2cac"
    "\u2cca\u2ccc\u2cd0\u2cd2\u2d38\u2d39\u2d4f\u2d54\u2d55\u2d5d\u3007\ua4d0\ua4d1\ua4d2\ua4d3\ua4d4\ua4d6\ua4d7"
    "\ua4d9\ua4da\ua4dc\ua4dd\ua4df\ua4e0\ua4e1\ua4e2\ua4e3\ua4e6\ua4e7\ua4ea\ua4eb\ua4ec\ua4ee\ua4f0\ua4f2\ua4f3"
    "\ua4f4\ua644\ua647\ua6df\ua6ef\uab75\uab81\uab83\uab93\uaba9\uabaa\uabaf\U00010282\U00010286\U00010287"
    "\U0001028a\U00010290\U00010292\U00010295\U00010296\U00010297\U000102a0\U000102a1\U000102a2\U000102a5"
    "\U000102ab\U000102b0\U000102b1\U000102b2\U000102b4\U000102cf\U000102f5\U00010301\U00010302\U00010309"
    "\U00010311\U00010315\U00010317\U0001031a\U00010320\U00010322\U00010404\U00010415\U0001041b\U00010420"
    "\U0001042c\U0001043d\U00010448\U000104b4\U000104c2\U000104ce\U000104d2\U000104ea\U000104f6\U00010513"
    "\U00010516\U00010518\U0001051c\U0001051d\U00010525\U00010526\U00010527\U000114d0\U00011706\U0001170a"
    "\U0001170e\U0001170f\U000118a0\U000118a2\U000118a3\U000118a4\U000118a6\U000118a9\U000118ac\U000118ae"
    "\U000118af\U000118b2\U000118b5\U000118b8\U000118bb\U000118bc\U000118c0\U000118c1\U000118c2\U000118c3"
    "\U000118c4\U000118c6\U000118c8\U000118ca\U000118cc\U000118d5\U000118d6\U000118d7\U000118d8\U000118dc"
    "\U000118e0\U000118e5\U000118e6\U000118e9\U000118ec\U000118ef\U000118f2\U00016f08\U00016f0a\U00016f16"
    "\U00016f28\U00016f35\U00016f3a\U00016f3b\U00016f40\U00016f42\U00016f43"
)
"""Letters and digits of other scripts that resemble one of ASCII (UTS 39, confusables.txt)."""
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
    if text.isascii():
        return text
    if _may_look_alike(text):
        raise ValueError(
            tr(
                "May not mix scripts or have full-width, dotless or phonetic letters: it would look like another name.",
                rule="format",
            )
        )
    if _looks_latin(text):
        raise ValueError(
            tr(
                "All of its letters look like Latin ones: write Latin letters, or add one that only its script has.",
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
    scripts = {_script(letter) for letter in letters if letter.isalpha()} - _BESIDE_LATIN
    if "LATIN" in scripts:
        # Also digits: some of other scripts resemble the letter o.
        digits = {letter for letter in letters if letter.isdecimal() and not letter.isascii()}
        latin = {letter for letter in letters if _script(letter) == "LATIN"}
        plain = set(map(_without_marks, latin))
        if any(not letter.isascii() for letter in latin - {"ı"}):
            # A Turkish name such as `ışıl` resembles none of ASCII.
            plain.discard("ı")
        if digits or plain - _LATIN or letters & _LIKE_ASCII:
            return True
    return len(scripts) > 1 or unicodedata.normalize("NFKC", text) != composed


def _looks_latin(text: str) -> bool:
    """Whether a name in another script can be read as one in Latin letters, as `асе` in Cyrillic."""
    letters = {_without_marks(letter) for letter in text if letter.isalnum() and not letter.isascii()}
    return bool(letters) and letters <= _LIKE_ASCII


def _script(letter: str) -> str:
    return re.split("[ -]", unicodedata.name(letter, ""))[0]


def _without_marks(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[0]
