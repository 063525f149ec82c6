"""Detect the encoding of text that is not Unicode, or name the encodings in which it can be read.

chardet estimates how likely a text is in each language from pairs of bytes. It does not look at words: one that mixes
scripts, or has a capital with an accent after a small letter, makes a reading less likely here.
"""

import codecs
import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import chardet

from app.sheets.encodings import ENCODINGS, LARGER

MARGIN = 0.75
"""How likely the next reading may be beside the likeliest, for that one to be taken.

Of 698 files of one to four lines in eight encodings, none was misread, and 24 were asked about.
"""
MAX_READINGS = 5
MAX_SAMPLE = 80

_LEGACY = {codecs.lookup(name).name: name for name in ENCODINGS if not name.startswith("utf")}
_CHARDET_NAMES = {"euc_jp": "euc-jp"}
_ALPHABETS = frozenset({"LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "THAI"})
_JAPANESE = frozenset({"CJK", "HIRAGANA", "KATAKANA"})
_SCRIPTS = _ALPHABETS | _JAPANESE | {"HANGUL", "HALFWIDTH"}
_WORD = re.compile(r"[^\W\d_]+")
_SIGN_IN_WORD = re.compile(
    r"(?<=[^\W\d_])(?!’(?:s|t|re|ve|ll|d|m)\b)(?!(?<=\b[^\W\d_])’)[^\w\s!-~\u00b7\u3000-\u303f\uff00-\uffef](?=[^\W\d_])"
)
"""A sign between two letters, other than the apostrophes of English and French."""
_COMMON_SIGNS = frozenset("°±µ·×®©™€£§«»–—‘’“”•…")
_WEIGHTS = {"cp1252": 1.2, **dict.fromkeys(("cp1257", "cp1258", "iso8859-2", "koi8-r", "cp866"), 0.8)}
"""Some encodings are more common than chardet's equal view: it knows languages, not which files there are."""


_ODD_CASE = re.compile("aÄ|[AÄ]Äa")
"""JosÈ, DŸsseldorf; but not McDönald."""


class Reading(NamedTuple):
    """A text as an encoding reads it; how likely it is compares readings of one text only."""

    encoding: str
    text: str
    likelihood: float


def readings(content: bytes) -> list[Reading]:
    """The different readings of a text, the likeliest first; none if it is no text at all."""
    different: dict[str, Reading] = {}
    for reading in sorted(_all_readings(content), key=lambda reading: -reading.likelihood):
        different.setdefault(reading.text, reading)
    return list(different.values())


def is_sure(candidates: Sequence[Reading]) -> bool:
    """Whether the first reading is much likelier than the second."""
    return len(candidates) == 1 or candidates[1].likelihood < candidates[0].likelihood * MARGIN


def samples(candidates: Sequence[Reading]) -> list[dict[str, str]]:
    """The encodings of the likeliest readings, each with a line as it reads it."""
    return [{"encoding": reading.encoding, "sample": _sample(reading.text)} for reading in candidates[:MAX_READINGS]]


def _all_readings(content: bytes) -> Iterator[Reading]:
    names = [_CHARDET_NAMES.get(name, name) for name in _LEGACY.values()]
    for guess in chardet.detect_all(content, ignore_threshold=True, include_encodings=names):
        encoding = _own_name(guess["encoding"])
        if encoding is None:
            continue
        try:
            # The last character may be cut off.
            text = codecs.getincrementaldecoder(encoding)().decode(content)
        except UnicodeDecodeError:
            continue
        if not _has_controls(text):
            weight = _WEIGHTS.get(encoding, 1.0) * (1 - _share_of_odd_words(text)) ** 2
            # A language says nothing of signs: 20 °C is likely in any of them.
            yield Reading(encoding, text, 1.0 if _has_only_signs(text) else guess["confidence"] * weight)


def _own_name(name: str | None) -> str | None:
    """The name in ENCODINGS; None for what is no text."""
    if name is None:
        return None
    plain = codecs.lookup(name).name
    return _LEGACY.get(codecs.lookup(LARGER.get(plain, plain)).name)


def _has_controls(text: str) -> bool:
    """Whether a text has characters that no text has: control characters, private or unassigned ones."""
    return any(unicodedata.category(letter) in ("Cc", "Co", "Cn") for letter in set(text) - {"\r", "\n", "\t"})


def _has_only_signs(text: str) -> bool:
    """Whether all letters are ASCII, and other characters are signs in their places: 20 °C, 5–8, a server’s."""
    others = {letter for letter in text if not letter.isascii()}
    return others <= _COMMON_SIGNS and not _SIGN_IN_WORD.search(text)


def _share_of_odd_words(text: str) -> float:
    """The share of words that no language has, among those that are not ASCII and the signs inside of words."""
    words = {word for word in _WORD.findall(text) if not word.isascii()}
    signs = len(_SIGN_IN_WORD.findall(text))
    return (sum(map(_is_odd, words)) + signs) / max(1, len(words) + signs)


def _is_odd(word: str) -> bool:
    scripts = {_script(letter) for letter in word} & _SCRIPTS
    mixed = len(scripts) > 1 and not (scripts <= _JAPANESE)
    return mixed or _ODD_CASE.search("".join(map(_case, word))) is not None


def _case(letter: str) -> str:
    """a, A, Ä: a small letter, a capital, a capital with an accent; x for scripts that have none."""
    if letter.islower():
        return "a"
    return ("A" if letter.isascii() else "Ä") if letter.isupper() else "x"


@functools.cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split()[0]


def _sample(text: str) -> str:
    line = text.split("\n", 1)[0].strip()
    first = next((at for at, letter in enumerate(line) if not letter.isascii()), 0)
    begin = max(0, min(first - 10, len(line) - MAX_SAMPLE))
    return line[begin : begin + MAX_SAMPLE]
