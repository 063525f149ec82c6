"""How well an object matches, from 0 to 1, and which of its fields says so."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.values import fold
from app.resource import Resource
from app.resource.query.searched_fields import FoundText, searched_values
from app.resource.query.text_search import Word
from app.search.typos import has_word

Hit = dict[str, Any]

_IN_SEVERAL_FIELDS = 0.9
"""The factor where the words are not next to each other: an object that has the whole text ranks higher."""
_WITH_TYPO = 0.5
"""Below every object that holds the words."""


def hit(resource: Resource, item: Mapping[str, Any], words: Sequence[Word], text: str, *, has_typo: bool) -> Hit:
    """An object that was found, as the answer shows it."""
    label = resource.model.label
    texts = list(searched_values(resource, item))
    whole = fold(text)
    shown = next((one for one in texts if whole in one.compared), None)
    if shown is not None:
        score = _score(whole, shown, is_label=shown.field == label)
    else:
        matched = [(word, one) for word in words if (one := _text_with(texts, word)) is not None]
        scores = [_score(word[0], one, is_label=one.field == label) for word, one in matched]
        score = _IN_SEVERAL_FIELDS * sum(scores) / len(words)
        # The longest word tells most.
        shown = max(matched, key=lambda pair: len(pair[0][0]), default=(None, texts[0]))[1]
    parents = [item[name]["name"] for name in resource.references if name != "created_by" and item[name]]
    return {
        "type": resource.name,
        "id": item["id"],
        "title": str(item[label]),
        "subtitle": " · ".join(map(str, parents)),
        "match": {"field": shown.field, "value": shown.value},
        "score": round(score * _WITH_TYPO if has_typo else score, 4),
    }


def _text_with(texts: Sequence[FoundText], word: Word) -> FoundText | None:
    """The first text that contains a word; without any, the first that does so with a typo."""
    exact = (one for one in texts if any(spelling in one.compared for spelling in word))
    return next(exact, None) or next((one for one in texts if has_word(one.compared, word)), None)


def _score(folded: str, text: FoundText, *, is_label: bool) -> float:
    if text.compared == folded:
        score = 1.0
    elif text.compared.startswith(folded):
        score = 0.9
    else:
        score = 0.7
    # Of two values that contain the text, the shorter one ranks higher.
    share = min(len(folded) / max(len(text.value), 1), 1)
    return (score if is_label else score - 0.15) * (0.9 + 0.1 * share)
