"""Words with one typo: a wrong, missing or additional character, or two characters in the wrong order."""

import functools
import re
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from app.core.values import CJK, as_read, search_text
from app.resource.query.conditions import escape_like
from app.resource.query.text_search import Word, has_words, search_values

MIN_LENGTH = 4
"""Characters of a word from which a typo is forgiven: too much resembles a shorter one."""

MAX_PARTS = 5
"""Conditions that are looked for one by one: those of a word of nine letters. More take longer to plan than to run."""

Clause = sa.ColumnElement[bool]
Pattern = tuple[str, ...]
"""Parts of a word, each of which must be there, in this order."""
TypoShape = tuple[tuple[int, int], ...]

_IDEOGRAPH = re.compile(f"[{CJK}]")
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def typo_shape(words: Sequence[Word]) -> TypoShape:
    """Of each word, how many spellings it has and how many patterns could find it with a typo."""
    return tuple((len(word), len(_patterns(word[0]))) for word in words)


def typo_values(words: Sequence[Word]) -> dict[str, str]:
    """The parameters of `could_hold` that look for these words."""
    values: dict[str, str] = {}
    for at, word in enumerate(words):
        values |= search_values([word], f"w{at}_")
        for number, parts in enumerate(_patterns(word[0])):
            values[f"t{at}_{number}"] = f"%{'%'.join(map(search_text, parts))}%"
            values[f"t{at}_{number}_like"] = f"%{'%'.join(escape_like(search_text(part)) for part in parts)}%"
    return values


def could_hold(content: sa.ColumnElement[str], shape: TypoShape, *, in_every_word: bool) -> list[Clause]:
    """Conditions, at least one of which is met by every entry that could hold the words.

    The typo may be in one word, or `in_every_word`. What a condition admits is to be compared by `similar_entry`.
    """
    exact = [has_words(content, [spellings], f"w{at}_") for at, (spellings, _) in enumerate(shape)]
    similar = [
        [_resembles(content, f"t{at}_{number}") for number in range(patterns)] for at, (_, patterns) in enumerate(shape)
    ]
    if in_every_word:
        return [sa.and_(*(sa.or_(has, *parts) for has, parts in zip(exact, similar, strict=True)))]
    each = [sa.and_(part, *exact[:at], *exact[at + 1 :]) for at, parts in enumerate(similar) for part in parts]
    return each if len(each) <= MAX_PARTS else [sa.or_(*each)]


def _patterns(word: str) -> list[Pattern]:
    """What is left of a word beside one typo, in parts that have trigrams.

    In a word of two parts, the part without the typo is left; in one of three parts, two of them. Where the typo swaps
    two characters of different parts, the word is looked for as it was before: the rest of `acitve`, `ac` and `ve`, has
    no trigram, so that all texts would be read. A word of four or five letters has no such parts: one with a wrong
    letter in its middle is not found.
    """
    length = len(word)
    if length < MIN_LENGTH:
        return []
    if length < 6:
        swapped = (_swapped(word, at) for at in range(length - 1))
        without = (word[:at] + word[at + 1 :] for at in range(length))
        return [(part,) for part in dict.fromkeys((word[:3], word[-3:], *swapped, *without))]
    if length < 9:
        half = length // 2
        return [(word[:half],), (word[half:],), (_swapped(word, half - 1),)]
    third, rest = length // 3, 2 * length // 3
    first, second, last = word[:third], word[third:rest], word[rest:]
    in_one_part = [(first, second), (second, last), (first, last)]
    return [*in_one_part, (_swapped(word, third - 1),), (_swapped(word, rest - 1),)]


def _swapped(word: str, at: int) -> str:
    """The word with two characters in the other order, this one and the next."""
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _resembles(content: sa.ColumnElement[str], name: str) -> Clause:
    pattern = sa.bindparam(f"{name}_like", type_=sa.Text, literal_execute=True)
    return sa.func.resembles(content, pattern, sa.bindparam(name, type_=sa.Text))


def holds(content: str, word: Word) -> bool:
    """Whether an entry's text contains a word."""
    return any(search_text(spelling) in content for spelling in word)


def has_word(text: str, word: Word) -> bool:
    """Whether a folded text contains a word, or has one that differs by a typo."""
    if any(spelling in text for spelling in word):
        return True
    return len(word[0]) >= MIN_LENGTH and any(_is_similar(token, word[0]) for token in _tokens(text))


def similar_entry(content: str, words: Sequence[Word], *, in_every_word: bool) -> bool:
    """Whether an entry's text has all words, with a typo in one of them, or `in_every_word`."""
    missing = [word for word in words if not holds(content, word)]
    if len(missing) > 1 and not in_every_word:
        return False
    text = as_read(content)
    return all(has_word(text, word) for word in missing)


def _tokens(text: str) -> Iterator[str]:
    for chunk in text.split():
        yield chunk
        parts = _BETWEEN_WORDS.split(chunk)
        if len(parts) > 1:
            yield from parts


@functools.lru_cache(maxsize=65_536)
def _is_similar(token: str, word: str) -> bool:
    """Whether a token, its beginning or, where no spaces separate words, a part of it is the word with a typo."""
    lengths = range(len(word) - 1, len(word) + 2)
    if len(token) in lengths and is_one_typo(token, word):
        return True
    last = len(token) - min(lengths) if _IDEOGRAPH.search(word) else 0
    return any(is_one_typo(token[at : at + length], word) for at in range(last + 1) for length in lengths)


def is_one_typo(text: str, other: str) -> bool:
    """Whether one typo, or none, makes one text the other."""
    if abs(len(text) - len(other)) > 1:
        return False
    shorter = min(len(text), len(other))
    begin = next((at for at in range(shorter) if text[at] != other[at]), shorter)
    end = next((at for at in range(shorter - begin) if text[-1 - at] != other[-1 - at]), shorter - begin)
    rest, other_rest = text[begin : len(text) - end], other[begin : len(other) - end]
    return max(len(rest), len(other_rest)) <= 1 or (len(rest) == 2 and rest == other_rest[::-1])
