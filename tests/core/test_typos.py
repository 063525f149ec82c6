"""What is looked for to find a word with a typo: no typo is missed, and an index can be used."""

import string
from collections.abc import Iterator

import pytest

from app.search.typos import typo_values

LETTERS = string.ascii_lowercase


def typos(word: str) -> Iterator[str]:
    """The word with each typo: a wrong, missing or additional character, two characters in the wrong order."""
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        yield f"{before}_{after}"
        if after:
            yield f"{before}_{after[1:]}"
            yield before + after[1:]
        if after[1:]:
            yield before + after[1] + after[0] + after[2:]


def parts_of(typed: str) -> list[list[str]]:
    """The parts of each pattern that a typed word is looked for with."""
    values = typo_values([(typed,)])
    return [values[name].strip("%").split("%") for name in values if name.startswith("t0_") and "like" not in name]


def is_found(word: str, parts: list[str]) -> bool:
    """Whether the parts are in the word, in their order."""
    for part in parts:
        _, found, word = word.partition(part)
        if not found:
            return False
    return True


@pytest.mark.parametrize("length", range(7, 15))
def test_every_typo_of_a_word_is_found(length: int) -> None:
    word = LETTERS[:length]
    missed = [typed for typed in typos(word) if not any(is_found(word, parts) for parts in parts_of(typed))]
    assert missed == []


@pytest.mark.parametrize("length", range(4, 15))
def test_each_pattern_has_a_trigram(length: int) -> None:
    """Without one, PostgreSQL reads all texts: 1.5 s with a million servers."""
    assert [parts for parts in parts_of(LETTERS[:length]) if max(map(len, parts)) < 3] == []
